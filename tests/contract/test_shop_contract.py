"""The shop's own contract: clean, and resolved to the last name."""

import pytest
from contract_bench import SAGA_YAML, edited, resolve_yaml, shop, shop_yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from sagagen.contract import Mesh, resolve, saga_schema
from sagagen.contract.model import Saga, Service
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Limits, StepKind, Transaction


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    mesh, found = resolve(shop())
    assert found == ()
    assert mesh is not None
    return mesh


def saga_of(*edits: tuple[str, str]) -> Saga:
    mesh, found = resolve_yaml(edited(shop_yaml(), edits))
    assert mesh is not None, found
    return mesh.sagas[0]


def test_services_stand_in_the_order_of_saga_yaml_on_consecutive_ports(mesh: Mesh) -> None:
    assert [(service.name, service.port) for service in mesh.services] == [
        ("order", 50051),
        ("inventory", 50052),
        ("payment", 50053),
    ]
    order = mesh.services[0]
    assert [(m.descriptor.name, m.is_read, m.transaction) for m in order.methods] == [
        ("CreateOrder", False, Transaction.LOCAL),
        ("ConfirmOrder", False, Transaction.LOCAL),
        ("CancelOrder", False, Transaction.LOCAL),
        ("GetOrder", True, Transaction.LOCAL),
    ]


def test_routes_know_who_answers_them(mesh: Mesh) -> None:
    described = {
        (route.verb, route.template, route.body, route.response_body, type(route.target), route.target.name)
        for route in mesh.routes
    }
    assert described == {
        ("POST", "/orders", "*", "order", Saga, "place_order"),
        ("GET", "/orders/{order_id}", "", "order", Service, "order"),
        ("GET", "/products/{product_id}/stock", "", "", Service, "inventory"),
    }


def test_steps_carry_their_calls_and_policies(mesh: Mesh) -> None:
    create, _, _, confirm = mesh.sagas[0].calls
    assert create.kind is StepKind.COMPENSATABLE
    assert create.compensation is not None
    assert create.compensation.method.descriptor.name == "CancelOrder"
    assert create.compensation.retry.give_up_after_s == 86400.0
    assert create.action.retry.give_up_after_s is None
    assert confirm.kind is StepKind.PIVOT
    assert confirm.action.retry.give_up_after_s == 86400.0
    assert confirm.compensation is None
    assert mesh.sagas[0].calls[2].action.request.steps_read == {"create_order"}


def test_the_answer_and_the_idempotency_are_as_written(mesh: Mesh) -> None:
    saga = mesh.sagas[0]
    assert (saga.respond.after, saga.respond.status, saga.respond.wait_s) == ("create_order", 201, 10.0)
    assert (saga.key, saga.on_concurrent, saga.retention_s) == ("required", "conflict", 30 * 86400.0)
    assert saga.deadline_s == 60.0


def test_comments_of_the_protos_are_kept(mesh: Mesh) -> None:
    assert (
        mesh.docs["shop.order.v1.Order.cancel_reason"]
        == "Set once the order is CANCELLED, for example INSUFFICIENT_STOCK."
    )
    assert mesh.docs["shop.order.v1.Order.Status.PENDING"] == "Placed; stock and payment are not settled yet."


def test_the_descriptors_serve_the_runtime_with_the_rules_of_protovalidate(mesh: Mesh) -> None:
    schema = Schema(mesh.descriptors)
    message = schema.message_type("shop.order.v1.GetOrderRequest")()
    assert [violation.field for violation in schema.violations(message)] == ["order_id"]
    files = FileDescriptorSet.FromString(mesh.descriptors).file
    assert not any(file.HasField("source_code_info") for file in files)


def test_resolving_twice_gives_the_same_bytes_and_digests(mesh: Mesh) -> None:
    again, _ = resolve(shop())
    assert again is not None
    assert again.descriptors == mesh.descriptors
    assert again.sagas[0].digest == mesh.sagas[0].digest
    assert again.sources == mesh.sources == (*sorted(shop().paths.values()), SAGA_YAML)


def test_a_default_applies_where_a_step_is_silent_and_only_there() -> None:
    saga = saga_of(
        (
            "call: inventory/ReserveStock",
            "call: inventory/ReserveStock\n        retry: { initial: 1s, codes: [UNAVAILABLE] }",
        ),
    )
    retry = saga.calls[1].action.retry
    assert (retry.initial_s, retry.multiplier, retry.max_s) == (1.0, 2.0, 2.0)
    assert {code.name for code in retry.codes} == {"UNAVAILABLE"}
    assert saga.calls[0].action.retry.initial_s == 0.05


def test_everything_optional_may_be_left_out() -> None:
    text = shop_yaml()
    start, end = text.index("defaults:"), text.index("\nsagas:") + 1
    text = text[:start] + text[end:]
    for line in ("    version: 1\n", "    deadline: 60s\n", "      status: 201\n", "      wait: 10s\n"):
        text = edited(text, ((line, ""),))
    text = edited(
        text, (("    idempotency: { key: required, on_concurrent: conflict, retention: 30d }\n", ""),)
    )
    mesh, found = resolve_yaml(text)
    assert found == ()
    assert mesh is not None
    saga = mesh.sagas[0]
    assert (saga.version, saga.deadline_s, saga.respond.status, saga.respond.wait_s) == (1, 60.0, 200, 10.0)
    assert (saga.key, saga.on_concurrent, saga.retention_s) == ("required", "conflict", 30 * 86400.0)
    assert saga.calls[0].action.timeout_s == 2.0


@pytest.mark.parametrize(
    "edit",
    [
        ("# An order is placed whole", "# An order is placed, whole"),
        (
            "{ order: steps.create_order.order }",
            "\n        order: >-\n          steps.create_order\n          .order",
        ),
        ("deadline: 60s", "deadline: 90s"),
        ("timeout: 2s", "timeout: 3s"),
        (
            "product_id: i.product_id, quantity: i.quantity,",
            "product_id: i.product_id,   quantity: i.quantity,",
        ),
        ("wait: 10s", "wait: 5s"),
    ],
)
def test_spelling_and_pace_do_not_change_the_digest(edit: tuple[str, str]) -> None:
    assert saga_of(edit).digest == saga_of().digest


@pytest.mark.parametrize(
    "edit",
    [
        ("version: 1 ", "version: 2 "),
        ("int(i.price * 100.0 + 0.5)", "int(i.price * 100.0)"),
        ("reason: failure.reason", "reason: failure.code"),
        ("after: create_order", "after: reserve_stock"),
        ("status: 201", "status: 200"),
        ("kind: pivot", "kind: compensatable\n        compensate: none"),
        ("name: reserve_stock", "name: reserve"),
        ("{ call: inventory/ReleaseStock, request: { order_id: saga.id } }", "none"),
    ],
)
def test_what_a_running_saga_relies_on_changes_the_digest(edit: tuple[str, str]) -> None:
    text = shop_yaml().replace("    version: 1\n", "    version: 1 \n")
    mesh, _ = resolve_yaml(edited(text, (edit,)))
    assert mesh is not None
    assert mesh.sagas[0].digest != saga_of().digest


def test_the_schema_of_saga_yaml_describes_every_key_and_allows_no_other() -> None:
    schema = saga_schema()
    assert set(schema["required"]) == {"version", "project", "services", "sagas"}
    assert schema["additionalProperties"] is False
    for name, shape in schema["$defs"].items():
        assert shape["additionalProperties"] is False, name
    assert schema["$defs"]["StepShape"]["properties"]["kind"]["enum"] == [
        "compensatable",
        "pivot",
        "retriable",
    ]
    assert "null" not in str(schema)


def test_limits_are_ours_unless_the_contract_has_others(mesh: Mesh) -> None:
    assert mesh.limits == Limits()
    written = edited(
        shop_yaml(), (("project: shop", "project: shop\nlimits: { max_running: 7, max_waiting: 8 }"),)
    )
    limited, found = resolve_yaml(written)
    assert limited is not None, found
    assert limited.limits == Limits(max_running=7, max_waiting=8)
    assert limited.sagas[0].digest == mesh.sagas[0].digest
