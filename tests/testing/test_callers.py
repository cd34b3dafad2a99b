"""Requests of a test where the contract has `security`: by whom it says, past the product's own rules."""

from dataclasses import replace

from generated.mesh import MESH
from sagagen.runtime import Gateway
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import Access, ApiKeyScheme, ClaimType, OidcScheme, Security
from sagagen.testing import as_caller, as_nobody, saga_test, virtual_time

ORDER = {"customer_id": "ann", "items": [{"product_id": "prod_1", "quantity": 2, "price": 5.0}]}
STOCK = "/products/prod_1/stock"


def guarded() -> Mesh:
    """The shop, as the contract would have it with a section of its own."""
    claims: dict[str, ClaimType] = {"tenant": "string", "groups": "list(string)"}
    schemes = (
        ApiKeyScheme("partners", "X-Api-Key"),
        OidcScheme("customers", "https://id.example", "shop", ("ES256",), claims=claims),
    )
    access = {
        "/orders": Access(("partners", "customers"), ("orders.write",)),
        "/orders/{order_id}": Access(("partners", "customers"), ("orders.read",)),
        STOCK.replace("prod_1", "{product_id}"): Access(()),
    }
    routes = tuple(replace(route, access=access[route.template]) for route in MESH.routes)
    return replace(MESH, security=Security(schemes, ("partners", "customers")), routes=routes)


@virtual_time
async def test_who_says_nothing_may_all_and_who_is_named_may_what_the_test_says() -> None:
    mesh = guarded()
    async with saga_test(mesh, gateway=Gateway(mesh)) as t:
        answer = await t.post("/orders", ORDER)
        assert answer.status == 201
        order = f"/orders/{answer.json['order_id']}"
        writer = as_caller("bob", scopes=["orders.write"])
        for headers, expected in (
            ({}, 200),
            (as_caller("bob"), 200),
            (writer, 403),
            (as_caller("bob", scopes=[]), 403),
            (as_nobody(), 401),
        ):
            assert (await t.get(order, headers=headers)).status == expected
        assert (await t.get(STOCK, headers=as_nobody())).status == 200
        assert (await t.post("/orders", ORDER, headers=writer)).status == 201
        assert (await t.post("/orders", ORDER, headers=as_nobody())).status == 401


@virtual_time
async def test_a_saga_is_its_callers() -> None:
    mesh = guarded()
    async with saga_test(mesh, gateway=Gateway(mesh), headers=as_caller("ann")) as t:
        place = (await t.post("/orders", ORDER)).saga.id
        assert (await t.get(f"/sagas/{place}")).status == 200
        assert (await t.get(f"/sagas/{place}", headers=as_caller("bob"))).status == 404
