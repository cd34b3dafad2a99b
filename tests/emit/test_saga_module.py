"""A saga's module, beyond a straight line of calls: what it builds is the contract's tree, function by function."""

import importlib.util
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from stack import REPOSITORY

from sagagen.contract import read_contract
from sagagen.contract.model import (
    Branch,
    Cancel,
    Decline,
    Delay,
    Event,
    ForEach,
    IndexValue,
    Mesh,
    Parallel,
    Saga,
    Start,
    Step,
    Wait,
)
from sagagen.emit.layout import lay_out
from sagagen.emit.mesh_view import routes_view
from sagagen.emit.openapi import openapi
from sagagen.emit.saga_view import saga_view
from sagagen.emit.service_names import name_services
from sagagen.emit.templates import render_template
from sagagen.expression import ListExpr, ValueExpr
from sagagen.expression.tree import Caller, Constant, EventMessage, Field, Input, Item
from sagagen.expression.types import DOUBLE, INT, ListType, MessageType, Simple, field_type
from sagagen.runtime.model import definition
from sagagen.runtime.model.definition import StepKind
from sagagen.runtime.scope import EventScope, Scope

TRUE = ValueExpr(Constant(True, Simple.BOOL))
PATHS_OF_ROUTES = ("/orders", "/orders/answered", "/orders/cancel")
PATHS = ("generated/sagas/place_order_v1.py", "generated/gateway/routes.py")


def shop() -> Mesh:
    mesh, findings = read_contract(REPOSITORY)
    assert mesh, findings
    return mesh


def with_everything(mesh: Mesh) -> Saga:
    """The shop's saga with each construct that there is. Its trigger's rpc stands for those of events as well."""
    saga = mesh.sagas[0]
    order, items = saga.trigger.input_type, saga.trigger.input_type.fields_by_name["items"]
    event = Field(
        EventMessage(MessageType(order.full_name, order)), order.fields_by_name["customer_id"], Simple.STRING
    )
    sender = ValueExpr(event)
    listed = Field(Input(MessageType(order.full_name, order)), items, field_type(items))
    assert isinstance(listed.type, ListType)
    assert listed.type.element
    assert items.message_type
    product = items.message_type.fields_by_name["product_id"]
    key = ValueExpr(Field(Item("line", listed.type.element), product, Simple.STRING))
    first, *others = saga.calls
    wait = Wait("answer", StepKind.COMPENSATABLE, "answered", 600.0, saga.span)
    loop = ForEach("line", ListExpr(listed, listed.type.element), key, at_once=3, max_items=50)
    block = Parallel(
        "together",
        StepKind.COMPENSATABLE,
        (
            Branch("a", (first, replace(wait, decline=Decline(TRUE, "NO"), when=TRUE)), saga.span),
            Branch("b", (replace(others[0], for_each=loop, when=TRUE),), saga.span),
        ),
        saga.span,
        when=TRUE,
    )
    return replace(
        saga,
        steps=(
            block,
            replace(wait, name="again", on_timeout=None, within_s=None),
            Delay("pause", StepKind.COMPENSATABLE, saga.span, after_s=5.0),
            Delay("as_said", StepKind.COMPENSATABLE, saga.span, after=ValueExpr(Constant(5.5, DOUBLE))),
            Delay("until", StepKind.COMPENSATABLE, saga.span, at=ValueExpr(Constant(7, INT)), at_most_s=60.0),
            *(replace(step, gives_up=step is others[-1]) for step in others[1:]),
        ),
        events=(Event("answered", saga.trigger, sender, TRUE, None, saga.span),),
        cancel=Cancel(saga.trigger, sender, "NO_LONGER_WANTED", TRUE, saga.span),
        start=Start(saga.span, at=ValueExpr(Constant(9, INT)), at_most_s=100.0),
        index=(IndexValue("customer", ValueExpr(Caller()), saga.span),),
    )


@pytest.fixture(scope="module")
def contract() -> tuple[Mesh, Saga]:
    mesh = shop()
    saga = with_everything(mesh)
    trigger = mesh.routes_to[saga.trigger][0]
    routes = [
        replace(trigger, target=saga, event=event, template=f"/orders{event and '/'}{event}")
        for event in ("", "answered", "cancel")
    ]
    return replace(mesh, sagas=(saga,), routes=tuple(routes)), saga


@pytest.fixture(scope="module")
def written(contract: tuple[Mesh, Saga]) -> dict[str, str]:
    mesh, saga = contract
    services = name_services(mesh)
    views = {
        PATHS[0]: render_template("saga.py.j2", saga_view(saga, mesh, services)),
        PATHS[1]: render_template("routes.py.j2", routes_view(mesh, services)),
    }
    return lay_out(views)


@pytest.fixture(scope="module")
def module(written: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return imported(written[PATHS[0]], tmp_path_factory.mktemp("module") / "place_order_v1.py")


def imported(source: str, path: Path) -> ModuleType:
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(ours: Any, contract: Any) -> None:
    """Each part of the definition is what the contract says; expressions have become functions."""
    if isinstance(contract, tuple):
        for one, other in zip(ours, cast(tuple[Any, ...], contract), strict=True):
            same(one, other)
    elif isinstance(contract, ValueExpr):
        assert callable(ours)
    elif isinstance(
        contract, Step | Wait | Delay | Parallel | Branch | ForEach | Decline | Event | Cancel | Start
    ):
        assert type(ours) is getattr(definition, type(contract).__name__)
        for field in fields(ours):
            if hasattr(contract, field.name):
                same(getattr(ours, field.name), getattr(contract, field.name))
    elif not is_dataclass(contract):
        assert ours == contract


def test_it_builds_the_contract_s_tree(module: ModuleType, contract: tuple[Mesh, Saga]) -> None:
    ours, saga = module.PLACE_ORDER_V1, contract[1]
    same(ours.steps, saga.steps)
    same(ours.events, saga.events)
    same(ours.cancel, saga.cancel)
    same(ours.start, saga.start)
    assert [value.name for value in ours.index] == ["customer"]
    assert [step.name for step in ours.calls] == [step.name for step in saga.calls]
    assert not ours.is_line


def test_its_functions_read_what_the_expressions_say(module: ModuleType) -> None:
    saga = module.PLACE_ORDER_V1
    request = saga.trigger.request
    order = request.from_dict(
        {"customer_id": "ann", "items": [{"product_id": "prod_1"}, {"product_id": "prod_2"}]}
    )
    scope: Scope[Any] = Scope("id", request, bytes(order), {}, caller="ann")
    loop = saga.steps[0].branches[1].steps[0].for_each
    items = loop.items(scope)
    assert [loop.key(scope.of_item(item)) for item in items] == ["prod_1", "prod_2"]
    assert saga.index[0].value(scope) == "ann"
    assert saga.steps[3].after(scope) == 5.5
    assert saga.start.at(scope) == 9
    event: EventScope[Any, Any] = EventScope(request, bytes(order))
    assert saga.events[0].saga_id(event) == "ann"
    assert saga.cancel.saga_id(event) == "ann"
    assert saga.cancel.allow(event) is True


def test_routes_lead_to_its_events(written: dict[str, str]) -> None:
    assert "import PLACE_ORDER, PLACE_ORDER_V1" in written[PATHS[1]]
    assert 'event="answered",' in written[PATHS[1]]
    assert 'event="cancel",' in written[PATHS[1]]
    assert written[PATHS[1]].count("starts_saga=True") == 1


def test_the_document_tells_what_events_are_answered(contract: tuple[Mesh, Saga]) -> None:
    document = openapi(contract[0])
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    start, answered, cancel = (document["paths"][path]["post"] for path in PATHS_OF_ROUTES)
    assert {"200", "403", "404", "409", "422", "503"} <= answered["responses"].keys()
    assert {"202", "403", "404", "409", "422", "503"} <= cancel["responses"].keys()
    assert "200" not in cancel["responses"]
    for responses, reasons in (
        (answered, ["SAGA_OVER", "NOT_EXPECTED"]),
        (cancel, ["SAGA_OVER", "TOO_LATE"]),
    ):
        described = responses["responses"]["409"]["description"]
        assert all(reason in described for reason in [*reasons, "SAGA_ELSEWHERE"])
        for status in ("404", "409", "503"):
            assert "Retry-After" in responses["responses"][status]["headers"]
        assert {"$ref": "#/components/parameters/IdempotencyKey"} in responses["parameters"]
    assert "later than 1m40s" in start["responses"]["400"]["description"]
    links = start["responses"]["202"]["links"]
    assert {name: link["operationId"] for name, link in links.items()} == {
        "saga": "getSaga",
        "answered": start["operationId"],  # the first of the rpc's, which is the same for all three
        "cancel": start["operationId"],
    }


def test_of_a_straight_line_nothing_changes() -> None:
    mesh = shop()
    text = render_template("saga.py.j2", saga_view(mesh.sagas[0], mesh, name_services(mesh)))
    assert lay_out({PATHS[0]: text})[PATHS[0]] == (REPOSITORY / PATHS[0]).read_text(encoding="utf-8")
