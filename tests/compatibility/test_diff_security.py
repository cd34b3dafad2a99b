"""What a change of who may call is: every rule about `security` and `callers`, on the shop with such a section."""

from dataclasses import replace

import pytest
from contract_pair import edited, resolved, severities, shop

from sagagen.compatibility.change import Change, Target
from sagagen.compatibility.compare import compare_contracts, in_order
from sagagen.contract import Mesh

B, W, S = "breaking", "warning", "safe"

SUBJECT = (
    "    subject: input.customer_id   # `sagagen forget CUSTOMER_ID` erases "
    "what is kept of them, where it is encrypted\n"
)
OPEN = "security: none # the shop shows sagas: whoever reaches its gateway may call it\n"
PLACE = "    shop.checkout.v1.CheckoutService/PlaceOrder: { scopes: [orders.write] }\n"
GET = "{ scopes: [orders.read], allow: response.order.customer_id == caller }"
SECTION = f"""
security:
  schemes:
    customers:
      {{ type: oidc, issuer: https://id.example, audience: shop, algorithms: [ES256, RS256],
        claims: {{ tenant: string }} }}
    partners: {{ type: api_key, header: X-Api-Key }}
  default: {{ any_of: [customers, partners] }}
  routes:
{PLACE}    shop.order.v1.OrderService/GetOrder: {GET}
    shop.inventory.v1.InventoryService/GetStock: public
  mesh: {{ trust_domain: shop.example }}
  admin: {{ viewer: [ops.read], operator: [ops.write], four_eyes: [resolve] }}
  limits: {{ per_caller: {{ rate: 50/s, burst: 100, running: 200 }} }}
  cors: {{ origins: [https://shop.example] }}
"""

CASES: dict[str, tuple[list[tuple[str, str]], dict[str, str]]] = {
    "a comment": ([("security:\n", "security:  # who may\n")], {}),
    "another order of schemes": ([("any_of: [customers, partners]", "any_of: [partners, customers]")], {}),
    "case of a header": ([("header: X-Api-Key", "header: x-api-key")], {}),
    "white space in allow": ([("customer_id == caller", "customer_id  ==  caller")], {}),
    "a public route asks": ([("GetStock: public", "GetStock: { scopes: [stock.read] }")], {"SD801": B}),
    "a route made public": ([(f"GetOrder: {GET}", "GetOrder: public")], {"SD802": B}),
    "a scheme added to a route": (
        [("PlaceOrder: { scopes", "PlaceOrder: { any_of: [customers], scopes")],
        {"SD804": B},
    ),
    "a scope added": ([("scopes: [orders.write]", "scopes: [orders.write, orders.pay]")], {"SD805": B}),
    "a scope removed": (
        [("scopes: [orders.write]", "any_of: [customers, partners]")],
        {"SD806": B},
    ),
    "a scope replaced": ([("scopes: [orders.write]", "scopes: [orders.all]")], {"SD805": B, "SD806": B}),
    "a rule of owners added": (
        [("{ scopes: [orders.write] }", "{ scopes: [orders.write], allow: request.customer_id == caller }")],
        {"SD807": B},
    ),
    "a rule of owners removed": ([(GET, "{ scopes: [orders.read] }")], {"SD808": B}),
    "a rule of owners changed": (
        [("response.order.customer_id == caller", "response.order.customer_id != ''")],
        {"SD809": B},
    ),
    "a scheme of another type": (
        [("{ type: api_key, header: X-Api-Key }", "{ type: oidc, issuer: https://b.example, audience: b }")],
        {"SD811": B},
    ),
    "another issuer": ([("https://id.example", "https://login.example")], {"SD812": B}),
    "another audience": ([("audience: shop", "audience: store")], {"SD812": B}),
    "the caller is another claim": ([("audience: shop,", "audience: shop, caller: email,")], {"SD813": B}),
    "another header": ([("header: X-Api-Key", "header: X-Partner-Key")], {"SD814": B}),
    "an algorithm added": ([("[ES256, RS256]", "[ES256, RS256, PS256]")], {"SD815": W}),
    "an algorithm removed": ([("[ES256, RS256]", "[ES256]")], {"SD816": B}),
    "a claim added": ([("tenant: string", "tenant: string, region: string")], {"SD821": S}),
    "a claim removed": ([(",\n        claims: { tenant: string }", "")], {"SD822": B}),
    "a claim of another type": ([("tenant: string", "tenant: list(string)")], {"SD823": B}),
    "another trust domain": ([("shop.example }\n  admin", "store.example }\n  admin")], {"SD833": B}),
    "no trust domain": ([("  mesh: { trust_domain: shop.example }\n", "")], {"SD833": B}),
    "viewers need more": ([("viewer: [ops.read]", "viewer: [ops.read, ops.all]")], {"SD841": W}),
    "operators need less": (
        [("operator: [ops.write]", "operator: [ops.read]")],
        {"SD841": W, "SD842": B},
    ),
    "no operators": (
        [("  admin: { viewer: [ops.read], operator: [ops.write], four_eyes: [resolve] }\n", "")],
        {"SD842": B, "SD844": B},
    ),
    "four eyes for one more": ([("four_eyes: [resolve]", "four_eyes: [resolve, skip]")], {"SD843": W}),
    "one pair of eyes": ([(", four_eyes: [resolve]", "")], {"SD844": B}),
    "one more origin": (
        [("origins: [https://shop.example]", "origins: [https://shop.example, https://ads.example]")],
        {"SD851": B},
    ),
    "no origin": ([("  cors: { origins: [https://shop.example] }\n", "")], {"SD852": B}),
    "a lower rate": ([("rate: 50/s", "rate: 10/s")], {"SD861": W}),
    "a lower burst": ([("burst: 100", "burst: 60")], {"SD861": W}),
    "fewer sagas": ([("running: 200", "running: 100")], {"SD861": W}),
    "higher limits": ([("rate: 50/s, burst: 100, running: 200", "rate: 60/s, burst: 200, running: 300")], {}),
    "no limit of sagas": ([(", running: 200", "")], {"SD862": B}),
    "no rate": ([("rate: 50/s, burst: 100, running: 200", "running: 200")], {"SD862": B}),
    "nobody's data": ([(SUBJECT, "")], {"SD871": B}),
    "another one's data": ([("subject: input.customer_id", "subject: caller")], {"SD871": B}),
    "a service that one more may call": (
        [("payment: { implements:", "payment: { callers: [gateway, order], implements:")],
        {"SD831": B},
    ),
}  # fmt: skip

BACKWARDS: dict[str, tuple[str, dict[str, str]]] = {
    "a route takes one more scheme": ("a scheme added to a route", {"SD803": B}),
    "a service that one less may call": ("a service that one more may call", {"SD832": B}),
    "somebody's data": ("nobody's data", {"SD872": S}),
    "cors added": ("no origin", {"SD851": B}),
    "limits added": ("no rate", {"SD861": W}),
}


def guarded(*edits: tuple[str, str]) -> Mesh:
    """The shop with the section, edited."""
    sources, _ = shop()
    text = edited(sources.saga_yaml or "", OPEN, "\n") + SECTION
    for was, now in edits:
        text = edited(text, was, now)
    return resolved(replace(sources, saga_yaml=text))


@pytest.fixture(scope="module")
def before() -> Mesh:
    return guarded()


def found(old: Mesh, new: Mesh) -> tuple[Change, ...]:
    return in_order(compare_contracts(old, new))


@pytest.mark.parametrize("name", CASES)
def test_a_change_of_the_section_has_its_rule_and_severity(name: str, before: Mesh) -> None:
    edits, expected = CASES[name]
    changes = found(before, guarded(*edits))
    assert severities(changes) == expected
    for change in changes:
        assert change.at.path == "contracts/saga.yaml"
        assert change.message
        assert change.subject


@pytest.mark.parametrize("name", BACKWARDS)
def test_the_other_way_it_has_another_one(name: str, before: Mesh) -> None:
    case, expected = BACKWARDS[name]
    assert severities(found(guarded(*CASES[case][0]), before)) == expected


def test_a_section_that_is_added_tells_each_client_and_one_that_goes_opens_all(before: Mesh) -> None:
    _, without = shop()
    added = found(without, before)
    asks = {change.subject for change in added if change.rule.code == "SD801"}
    assert asks == {"POST /orders", "GET /orders/{order_id}", "GET /sagas"}
    assert severities(added)["SD801"] == B
    assert severities(found(before, without)) == {"SD810": B}


def test_a_new_claim_that_a_saga_reads_hits_those_that_are_open(before: Mesh) -> None:
    charge = "      - name: charge_payment\n"
    new = guarded(
        ("tenant: string", "tenant: string, region: string"),
        (charge, f"{charge}        when: claims.region != ''\n"),
    )
    read = [change for change in found(before, new) if change.rule.code == "SD824"]
    assert [change.target for change in read] == [Target("place_order", 1)]


def test_a_change_is_shown_where_it_stands(before: Mesh) -> None:
    change = found(before, guarded((PLACE, PLACE.replace("orders.write", "orders.all"))))[0]
    lines = ((shop()[0].saga_yaml or "").replace(OPEN, "\n") + SECTION).split("\n")
    assert "PlaceOrder" in lines[change.at.line - 1]
