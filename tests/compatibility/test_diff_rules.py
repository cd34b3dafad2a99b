"""Every rule of the contract diff, planted in the shop's contract one at a time."""

import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from contract_pair import ROOT, SAGA_YAML, Edit, changes, edited, resolved, severities, shop, write_project
from test_diff_elements import CASES as ELEMENT_CASES
from test_diff_security import BACKWARDS as SECURITY_BACKWARDS
from test_diff_security import CASES as SECURITY_CASES

from sagagen.compatibility.compare import compare_contracts
from sagagen.compatibility.rules import OWN_RULES
from sagagen.contract import Mesh, load
from sagagen.workspace.versions import bump

ORDER = "contracts/shop/order/v1/order.proto"
CHECKOUT = "contracts/shop/checkout/v1/checkout.proto"
INVENTORY = "contracts/shop/inventory/v1/inventory.proto"
PAYMENT = "contracts/shop/payment/v1/payment.proto"

B, W, S = "breaking", "warning", "safe"

REFUND = "        compensate: { call: payment/RefundPayment, request: { order_id: saga.id } }\n"
CHARGE = """      - name: charge_payment
        call: payment/ChargePayment
        request:
          order_id: saga.id
          customer_id: input.customer_id
          amount_minor: steps.create_order.order.total_minor
        compensate: { call: payment/RefundPayment, request: { order_id: saga.id } }
"""
RESERVE = """      - name: reserve_stock
        call: inventory/ReserveStock
        request:
          order_id: saga.id
          lines: >-
            input.items.map(i, StockLine{product_id: i.product_id, quantity: i.quantity})
        compensate: { call: inventory/ReleaseStock, request: { order_id: saga.id } }
"""
CONFIRM = """      - name: confirm_order
        call: order/ConfirmOrder
        kind: pivot
        request: { order_id: saga.id }
"""
LOOK = """      - name: look
        call: order/GetOrder
        request: { order_id: saga.id }
"""
LOOK_AT_THE_END = LOOK.replace("call:", "kind: retriable\n        call:")
OTHER_SAGA = """
  restock:
    trigger: shop.inventory.v1.RestockService/Restock
    steps:
      - name: give_back
        call: inventory/ReleaseStock
        request: { order_id: saga.id }
        compensate: none
"""


def yaml(old: str, new: str) -> Edit:
    return SAGA_YAML, old, new


CASES: dict[str, tuple[list[Edit], dict[str, str]]] = {
    # Nothing that means anything.
    "a comment": ([yaml("version: v1\n", "version: v1  # of the language\n")], {}),
    "another order of keys": (
        [yaml("        kind: pivot\n        request: { order_id: saga.id }\n", "        request: { order_id: saga.id }\n        kind: pivot\n")],
        {},
    ),
    "flow style becomes block style": (
        [yaml("request: { order_id: saga.id, reason: failure.reason }", "request: { reason: failure.reason, order_id: saga.id }")],
        {},
    ),
    "white space in an expression": ([yaml("int(i.price * 100.0 + 0.5)", "int( i.price*100.0+0.5 )")], {}),
    "another name of a macro's variable": (
        [yaml("input.items.map(i, StockLine{product_id: i.product_id, quantity: i.quantity})",
              "input.items.map(line, StockLine{product_id: line.product_id, quantity: line.quantity})")],
        {},
    ),
    "the same duration in another unit": ([yaml("deadline: 60s", "deadline: 1m")], {}),
    "a default that is written out": ([yaml("  step: { timeout: 2s,", "  step: { timeout: 2000ms,")], {}),
    "a comment in a proto": ([(ORDER, "// An order as the customer sees it.", "// An order.")], {}),
    # Sagas.
    "saga renamed": ([yaml("  place_order:\n", "  buy:\n")], {"SD002": B}),
    "version raised": ([yaml("    version: 1\n", "    version: 2\n")], {"SD003": B}),
    "version raised and a step removed": (
        [yaml("    version: 1\n", "    version: 2\n"), yaml(RESERVE, "")],
        {"SD003": B},
    ),
    "version raised and the answer changed": (
        [yaml("    version: 1\n", "    version: 2\n"), yaml("status: 201", "status: 200")],
        {"SD003": B, "SD506": B},
    ),
    "trigger changed": (
        [
            yaml("CheckoutService/PlaceOrder", "CheckoutService/Buy"),
            (CHECKOUT, "  rpc PlaceOrder(", "  rpc Buy("),
        ],
        {"SD004": B, "SD007": B, "SD504": B, "RPC_NO_DELETE": B},
    ),
    "input of another type": (
        [
            (CHECKOUT, "rpc PlaceOrder(PlaceOrderRequest)", "rpc PlaceOrder(Basket)"),
            (CHECKOUT, "message PlaceOrderRequest {", "message Basket {"),
        ],
        {"SD008": B, "MESSAGE_NO_DELETE": B, "RPC_SAME_REQUEST_TYPE": B},
    ),
    "a new field of the input is read": (
        [
            (CHECKOUT, "  repeated CartItem items = 2", "  string buyer = 3;\n  repeated CartItem items = 2"),
            yaml("        request:\n          order_id: saga.id\n          customer_id: input.customer_id\n          amount_minor",
                 "        request:\n          order_id: saga.id\n          customer_id: input.buyer\n          amount_minor"),
        ],
        {"SD004": B, "SD009": B, "SD110": B},
    ),
    "a new field in a list of the input is read": (
        [
            (CHECKOUT, "  // Price of one unit, in the currency's major unit", "  int32 count = 4;\n  // Price of one unit, in the currency's major unit"),
            yaml("quantity: i.quantity,\n", "quantity: i.count,\n"),
        ],
        {"SD004": B, "SD009": B, "SD110": B},
    ),
    "a new field of a response is read": (
        [
            (ORDER, "  google.protobuf.Timestamp create_time = 7;", "  int64 due_minor = 9;\n  google.protobuf.Timestamp create_time = 7;"),
            yaml("steps.create_order.order.total_minor", "steps.create_order.order.due_minor"),
        ],
        {"SD004": B, "SD010": B, "SD110": B},
    ),
    "project renamed": ([yaml("project: shop", "project: store")], {"SD011": B}),
    # Steps.
    "step with a compensation removed": ([yaml(CHARGE, "")], {"SD004": B, "SD101": B}),
    "first step with a compensation removed": ([yaml(RESERVE, "")], {"SD004": B, "SD101": B}),
    "step without a compensation removed": ([yaml(CONFIRM, "")], {"SD004": B, "SD102": W}),
    "step renamed": ([yaml("name: reserve_stock", "name: reserve")], {"SD004": B, "SD103": B}),
    "pivot renamed": ([yaml("name: confirm_order", "name: confirm")], {"SD004": B, "SD103": B}),
    "steps reordered": ([yaml(RESERVE + CHARGE, CHARGE + RESERVE)], {"SD004": B, "SD104": B}),
    "step inserted before the pivot": ([yaml(CONFIRM, LOOK + CONFIRM)], {"SD004": B, "SD105": B}),
    "step inserted in the middle": ([yaml(CHARGE, LOOK + CHARGE)], {"SD004": B, "SD105": B}),
    "step appended": ([yaml(CONFIRM, CONFIRM + LOOK_AT_THE_END)], {"SD004": B, "SD106": W}),
    "another rpc of the same service": (
        [yaml("call: order/ConfirmOrder", "call: order/GetOrder"), yaml("        kind: pivot\n", "")],
        {"SD004": B, "SD107": B, "SD111": B},
    ),
    "request of another type": (
        [
            (PAYMENT, "rpc ChargePayment(ChargePaymentRequest)", "rpc ChargePayment(Charge)"),
            (PAYMENT, "message ChargePaymentRequest {", "message Charge {"),
        ],
        {"SD004": B, "SD108": B, "MESSAGE_NO_DELETE": B, "RPC_SAME_REQUEST_TYPE": B},
    ),
    "response of another type": (
        [
            (PAYMENT, "returns (ChargePaymentResponse)", "returns (Receipt)"),
            (PAYMENT, "message ChargePaymentResponse {", "message Receipt {"),
        ],
        {"SD109": B, "MESSAGE_NO_DELETE": B, "RPC_SAME_RESPONSE_TYPE": B},
    ),
    "request built otherwise": ([yaml("i.price * 100.0 + 0.5", "i.price * 100.0")], {"SD004": B, "SD110": B}),
    "a field of a request left out": (
        [yaml("          amount_minor: steps.create_order.order.total_minor\n", "")],
        {"SD004": B, "SD110": B},
    ),
    "kind changed": ([yaml("        kind: pivot\n", "        compensate: none\n")], {"SD004": B, "SD111": B}),
    "pivot moved earlier": (
        [
            yaml(REFUND, "        kind: pivot\n"),
            yaml("        kind: pivot\n        request: { order_id: saga.id }\n", "        kind: retriable\n        request: { order_id: saga.id }\n"),
        ],
        {"SD004": B, "SD113": B, "SD201": B, "SD307": S},
    ),
    "an rpc becomes a read": (
        [
            (INVENTORY, "rpc ReleaseStock(ReleaseStockRequest) returns (ReleaseStockResponse);",
             "rpc ReleaseStock(ReleaseStockRequest) returns (ReleaseStockResponse) { option idempotency_level = NO_SIDE_EFFECTS; }"),
            yaml("        compensate: { call: inventory/ReleaseStock, request: { order_id: saga.id } }\n", "        compensate: none\n"),
        ],
        {"SD004": B, "SD114": B, "SD201": B, "RPC_SAME_IDEMPOTENCY_LEVEL": B},
    ),
    "saga.yaml says that an rpc is a read": (
        [yaml("payment: { implements: [shop.payment.v1.PaymentService] }",
              "payment: { implements: [shop.payment.v1.PaymentService], methods: { ChargePayment: { read: true } } }"),
         yaml(REFUND, "        compensate: none\n")],
        {"SD004": B, "SD114": B, "SD201": B},
    ),
    "saga.yaml says what the proto said": (
        [(ORDER, "    option idempotency_level = NO_SIDE_EFFECTS;\n", ""),
         yaml("[shop.order.v1.OrderService] }", "[shop.order.v1.OrderService], methods: { GetOrder: { read: true } } }")],
        {"RPC_SAME_IDEMPOTENCY_LEVEL": S},
    ),
    "an rpc is deprecated": (
        [(PAYMENT, "returns (ChargePaymentResponse);", "returns (ChargePaymentResponse) { option deprecated = true; }")],
        {"SD115": W},
    ),
    # Compensations.
    "compensation removed": ([yaml(REFUND, "        compensate: none\n")], {"SD004": B, "SD201": B}),
    "compensation of the first step removed": (
        [yaml("compensate: { call: order/CancelOrder, request: { order_id: saga.id, reason: failure.reason } }", "compensate: none")],
        {"SD004": B, "SD201": B},
    ),
    "compensation calls another rpc": (
        [
            yaml(
                "compensate: { call: payment/RefundPayment, request: { order_id: saga.id } }",
                "compensate: { call: payment/ChargePayment, request: { order_id: saga.id, customer_id: input.customer_id } }",
            )
        ],
        {"SD004": B, "SD203": B},
    ),
    "compensation built otherwise": (
        [yaml("reason: failure.reason", "reason: failure.code")],
        {"SD004": B, "SD204": B},
    ),
    "compensations get less time": ([yaml("compensation: { timeout: 5s", "compensation: { timeout: 4s")], {"SD205": W}),
    "the pivot gives up sooner": (
        [yaml("kind: pivot", "kind: pivot\n        retry: { give_up_after: 1h }")],
        {"SD308": W},
    ),
    "the pivot gives up later": (
        [yaml("kind: pivot", "kind: pivot\n        retry: { give_up_after: 36h }")],
        {"SD307": S},
    ),
    "compensations give up sooner": ([yaml("give_up_after: 24h", "give_up_after: 1h")], {"SD205": W, "SD308": W}),
    "a compensation's request is validated more strictly": (
        [(ORDER, "string reason = 2 [(buf.validate.field).string.min_len = 1];", "string reason = 2 [(buf.validate.field).string.min_len = 9];")],
        {"SD206": B},
    ),
    # Timing.
    "timeout lowered": ([yaml("step: { timeout: 2s", "step: { timeout: 1s")], {"SD301": W}),
    "timeout raised": ([yaml("step: { timeout: 2s", "step: { timeout: 3s")], {"SD307": S}),
    "deadline lowered": ([yaml("deadline: 60s", "deadline: 30s")], {"SD302": B}),
    "deadline raised": ([yaml("deadline: 60s", "deadline: 90s")], {"SD307": S}),
    "attempts limited": ([yaml("step: { timeout: 2s, retry: { initial: 50ms,", "step: { timeout: 2s, retry: { max_attempts: 3, initial: 50ms,")], {"SD303": W}),
    "fewer codes retried": (
        [yaml("step: { timeout: 2s, retry: {", "step: { timeout: 2s, retry: { codes: [UNAVAILABLE],")],
        {"SD304": W},
    ),
    "other codes retried": (
        [yaml("step: { timeout: 2s, retry: {", "step: { timeout: 2s, retry: { codes: [UNAVAILABLE, NOT_FOUND],")],
        {"SD304": W, "SD305": S},
    ),
    "shorter backoff": ([yaml("initial: 50ms", "initial: 10ms")], {"SD306": W}),
    "backoff grows less": ([yaml("max: 2s } }", "max: 1s } }")], {"SD306": W}),
    # Idempotency.
    "key optional": ([yaml("key: required", "key: optional")], {"SD402": W}),
    "duplicates wait": ([yaml("on_concurrent: conflict", "on_concurrent: wait")], {"SD403": B}),
    "answers kept for less time": ([yaml("conflict, retention: 30d", "conflict, retention: 7d")], {"SD404": W}),
    "answers kept longer": ([yaml("conflict, retention: 30d", "conflict, retention: 60d")], {"SD405": S}),
    # The edge.
    "route moved": (
        [(INVENTORY, '"/products/{product_id}/stock"', '"/stock/{product_id}"')],
        {"SD501": B, "SD505": S},
    ),
    "route with another verb": ([(CHECKOUT, 'post: "/orders"', 'put: "/orders"')], {"SD501": B, "SD505": S}),
    "route removed": (
        [(INVENTORY, '    option (google.api.http) = {get: "/products/{product_id}/stock"};\n', "")],
        {"SD501": B},
    ),
    "a path variable fills another field": (
        [
            (ORDER, '"/orders/{order_id}"', '"/orders/{id}"'),
            (ORDER, "message GetOrderRequest {\n", "message GetOrderRequest {\n  string id = 2;\n"),
        ],
        {"SD502": B},
    ),
    "response_body removed": (
        [(ORDER, '      get: "/orders/{order_id}"\n      response_body: "order"\n', '      get: "/orders/{order_id}"\n')],
        {"SD503": B},
    ),
    "body of the trigger's route": (
        [(CHECKOUT, '      body: "*"\n      response_body: "order"\n', '      body: "*"\n')],
        {"SD503": B},
    ),
    "route added": (
        [(INVENTORY, '{get: "/products/{product_id}/stock"}', '{\n get: "/products/{product_id}/stock"\n additional_bindings { get: "/stock/{product_id}" }\n}')],
        {"SD505": S},
    ),
    "status changed": ([yaml("status: 201", "status: 200")], {"SD004": B, "SD506": B}),
    "answered at acceptance": (
        [yaml("      after: create_order\n      status: 201\n      wait: 10s\n      body: { order: steps.create_order.order }\n", "      after: acceptance\n      status: 202\n")],
        {"SD004": B, "SD506": B, "SD507": B, "SD508": B},
    ),
    "answered at a later step": ([yaml("after: create_order", "after: charge_payment")], {"SD004": B, "SD507": B}),
    "answer without a body": ([yaml("      body: { order: steps.create_order.order }\n", "")], {"SD004": B, "SD508": B}),
    "202 sooner": ([yaml("wait: 10s", "wait: 1s")], {"SD509": W}),
    "limits lowered": ([yaml("defaults:\n", "limits: { max_running: 10 }\n\ndefaults:\n")], {"SD510": W}),
    "a limit of bodies lowered": ([yaml("defaults:\n", "limits: { body: { default: 1KiB } }\n\ndefaults:\n")], {"SD510": W}),
    "limits raised": ([yaml("defaults:\n", "limits: { max_running: 20000 }\n\ndefaults:\n")], {}),
    "a maximum lowered": ([(CHECKOUT, "    lte: 1000\n", "    lte: 10\n")], {"SD511": B}),
    "a minimum raised": ([(CHECKOUT, "    min_items: 1\n", "    min_items: 2\n")], {"SD511": B}),
    "a rule added": ([(CHECKOUT, "    max_items: 100\n", "    max_items: 100\n    unique: true\n")], {"SD511": B}),
    "a maximum raised": ([(CHECKOUT, "    lte: 1000\n", "    lte: 2000\n")], {"SD512": S}),
    "a rule removed": ([(CHECKOUT, "    finite: true\n", "")], {"SD512": S}),
    # Services and data.
    "service added": (
        [
            yaml("\ndefaults:\n", "  audit: { implements: [shop.inventory.v1.AuditService] }\n\ndefaults:\n"),
            (INVENTORY, "// So many of one product.", "// Looks.\nservice AuditService {\n  // Looks.\n  rpc Audit(AuditRequest) returns (AuditResponse);\n}\nmessage AuditRequest {}\nmessage AuditResponse {}\n// So many of one product."),
        ],
        {"SD602": S},
    ),
    "ports move": (
        [yaml("  order: { implements: [shop.order.v1.OrderService] }\n  inventory: { implements: [shop.inventory.v1.InventoryService] }\n",
              "  inventory: { implements: [shop.inventory.v1.InventoryService] }\n  order: { implements: [shop.order.v1.OrderService] }\n")],
        {"SD604": W},
    ),
    "an rpc moves to another service": (
        [
            yaml("  payment: { implements: [shop.payment.v1.PaymentService] }\n", ""),
            yaml("  order: { implements: [shop.order.v1.OrderService] }", "  order: { implements: [shop.order.v1.OrderService, shop.payment.v1.PaymentService] }"),
            yaml("call: payment/ChargePayment", "call: order/ChargePayment"),
            yaml("call: payment/RefundPayment", "call: order/RefundPayment"),
        ],
        {"SD004": B, "SD107": B, "SD203": B, "SD601": B},
    ),
    "services change what they implement": (
        [
            yaml("order: { implements: [shop.order.v1.OrderService] }", "order: { implements: [shop.order.v1.OrderService, shop.inventory.v1.InventoryService] }"),
            yaml("inventory: { implements: [shop.inventory.v1.InventoryService] }", "inventory: { implements: [shop.inventory.v1.AuditService] }"),
            yaml("call: inventory/ReserveStock", "call: order/ReserveStock"),
            yaml("call: inventory/ReleaseStock", "call: order/ReleaseStock"),
            (INVENTORY, "// So many of one product.", "// Looks.\nservice AuditService {\n  // Looks.\n  rpc Audit(AuditRequest) returns (AuditResponse);\n}\nmessage AuditRequest {}\nmessage AuditResponse {}\n// So many of one product."),
        ],
        {"SD004": B, "SD107": B, "SD203": B, "SD603": B},
    ),
    "a manual transaction": (
        [yaml("payment: { implements: [shop.payment.v1.PaymentService] }", "payment: { implements: [shop.payment.v1.PaymentService], methods: { ChargePayment: { transaction: manual } } }")],
        {"SD605": W},
    ),
    "a service forgets sooner": (
        [yaml("payment: { implements: [shop.payment.v1.PaymentService] }", "payment: { implements: [shop.payment.v1.PaymentService], retention: 20d }"),
         yaml("conflict, retention: 30d", "conflict, retention: 20d")],
        {"SD404": W, "SD606": W},
    ),
    "a service's isolation gets weaker": (
        [yaml("payment: { implements: [shop.payment.v1.PaymentService] }", "payment: { implements: [shop.payment.v1.PaymentService], isolation: read_committed }")],
        {"SD609": W},
    ),
    "debug_redact removed": (
        [(PAYMENT, "    (buf.validate.field).string.min_len = 1,\n    debug_redact = true\n", "    (buf.validate.field).string.min_len = 1\n")],
        {"SD607": B},
    ),
    "debug_redact added": (
        [(PAYMENT, "  string payment_id = 1;", "  string payment_id = 1 [debug_redact = true];")],
        {"SD608": W},
    ),
    # Protos, by buf.
    "field removed": (
        [(INVENTORY, "  // Set aside for orders.\n  int64 reserved = 3;\n", "")],
        {"FIELD_NO_DELETE": B},
    ),
    "field removed and reserved": (
        [(INVENTORY, "  // Set aside for orders.\n  int64 reserved = 3;\n", '  reserved 3;\n  reserved "reserved";\n')],
        {"FIELD_NO_DELETE": B},
    ),
    "field of another type": ([(INVENTORY, "int64 available = 2;", "int32 available = 2;")], {"FIELD_SAME_TYPE": B}),
    "field with another number": ([(INVENTORY, "int64 reserved = 3;", "int64 reserved = 4;")], {"FIELD_NO_DELETE": B}),
    "field renamed": ([(INVENTORY, "int64 reserved = 3;", "int64 set_aside = 3;")], {"FIELD_SAME_NAME": B, "FIELD_SAME_JSON_NAME": B}),
    "enum value removed": (
        [(ORDER, "    // Undone; cancel_reason says why.\n    CANCELLED = 3;\n", "")],
        {"ENUM_VALUE_NO_DELETE": B},
    ),
    "enum value added": ([(ORDER, "    CANCELLED = 3;\n", "    CANCELLED = 3;\n    // On its way.\n    SHIPPED = 4;\n")], {}),
    "field loses presence": ([(ORDER, "optional string cancel_reason", "string cancel_reason")], {"FIELD_SAME_CARDINALITY": B}),
    "field added": ([(ORDER, "message GetOrderRequest {\n", "message GetOrderRequest {\n  bool full = 2;\n")], {}),
    "rpc added": (
        [(PAYMENT, "  // Gives the money", "  // Looks.\n  rpc Look(LookRequest) returns (LookResponse);\n\n  // Gives the money"),
         (PAYMENT, "message RefundPaymentResponse {}", "message RefundPaymentResponse {}\nmessage LookRequest {}\nmessage LookResponse {}")],
        {},
    ),
    "an rpc is marked idempotent": (
        [(PAYMENT, "returns (ChargePaymentResponse);", "returns (ChargePaymentResponse) { option idempotency_level = IDEMPOTENT; }")],
        {"RPC_SAME_IDEMPOTENCY_LEVEL": S},
    ),
}  # fmt: skip


RESTOCK = [
    (SAGA_YAML, CONFIRM, CONFIRM + OTHER_SAGA),
    (
        INVENTORY,
        "// So many of one product.",
        "// Gives back.\nservice RestockService {\n  // Gives back.\n  rpc Restock(RestockRequest) returns (RestockResponse);\n}\n"
        "message RestockRequest {}\nmessage RestockResponse {}\n// So many of one product.",
    ),
]
CASES["saga added"] = (RESTOCK, {"SD006": S})

BACKWARDS: dict[str, tuple[list[Edit], dict[str, str]]] = {
    "saga removed": (RESTOCK, {"SD001": B, "MESSAGE_NO_DELETE": B, "SERVICE_NO_DELETE": B}),
    "version lowered": (CASES["version raised"][0], {"SD005": B}),
    "compensation added": (CASES["compensation removed"][0], {"SD004": B, "SD202": W}),
    "key required": (CASES["key optional"][0], {"SD401": B}),
    "pivot moved later": (
        CASES["pivot moved earlier"][0],
        {"SD004": B, "SD112": B, "SD202": W, "SD301": W, "SD306": W},
    ),
    "step inserted": (CASES["step with a compensation removed"][0], {"SD004": B, "SD105": B}),
    "step appended again": (CASES["step without a compensation removed"][0], {"SD004": B, "SD106": W}),
    "service removed, with its rpcs": (
        CASES["service added"][0],
        {"SD601": B, "MESSAGE_NO_DELETE": B, "SERVICE_NO_DELETE": B},
    ),
    "timeout back": (CASES["timeout raised"][0], {"SD301": W}),
    "local transaction again": (CASES["a manual transaction"][0], {"SD605": W}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_has_its_rule_and_severity(name: str, tmp_path: Path):
    edits, expected = CASES[name]
    found = changes(tmp_path / "shop", edits)
    assert severities(found) == expected
    for change in found:
        assert (ROOT / change.at.path).is_file(), change.at
        assert change.subject
        assert change.message


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_change_the_other_way_has_its_rule_and_severity(name: str, tmp_path: Path):
    edits, expected = BACKWARDS[name]
    assert severities(changes(tmp_path / "shop", edits, backwards=True)) == expected


V1 = "contracts/sagas/place_order.v1.yaml"


def with_kept(kept: str, *edits: tuple[str, str]) -> Mesh:
    """The shop at version 2, with version 1 beside it."""
    sources, _ = shop()
    text = edited(sources.saga_yaml or "", "    version: 1\n", "    version: 2\n")
    for was, now in edits:
        text = edited(text, was, now)
    return resolved(replace(sources, saga_yaml=text, kept={V1: kept} if kept else {}))


def kept_text() -> str:
    text = shop()[0].saga_yaml or ""
    return textwrap.dedent(text.partition("  place_order:\n")[2])


def test_a_raised_version_whose_old_one_is_kept_is_safe_whatever_changes_in_it():
    new = with_kept(kept_text(), (REFUND, "        compensate: none\n"), (RESERVE, ""))
    assert severities(list(compare_contracts(shop()[1], new))) == {"SD012": S}


def test_a_kept_version_must_not_change():
    changed = kept_text().replace("amount_minor: steps.create_order.order.total_minor", "amount_minor: 1")
    old, new = with_kept(kept_text()), with_kept(changed)
    assert severities(list(compare_contracts(old, new))) == {"SD004": B, "SD110": B}


def test_a_kept_version_that_goes_leaves_its_sagas_alone():
    assert severities(list(compare_contracts(with_kept(kept_text()), with_kept("")))) == {"SD003": B}


CANCEL = "compensate: { call: order/CancelOrder, request: { order_id: saga.id, reason: failure.reason } }"


def kept_alone_undoes(folder: Path, edits: list[Edit]) -> Mesh:
    """The shop at version 2, which does not cancel orders any more; version 1 still does."""
    write_project(folder, edits)
    bump(folder, "place_order")
    path = folder / SAGA_YAML
    path.write_text(edited(path.read_text(), CANCEL, "compensate: none"))
    return resolved(load(folder)[0])


def test_what_only_a_kept_version_undoes_by_must_not_get_stricter(tmp_path: Path):
    stricter, _ = CASES["a compensation's request is validated more strictly"]
    old, new = kept_alone_undoes(tmp_path / "old", []), kept_alone_undoes(tmp_path / "new", stricter)
    assert severities(list(compare_contracts(old, new))) == {"SD206": B}


def test_every_rule_is_planted():
    planted = {code for _, expected in [*CASES.values(), *BACKWARDS.values()] for code in expected}
    of_elements = {code for _, _, expected in ELEMENT_CASES.values() for code in expected}
    of_security = {
        code for _, expected in [*SECURITY_CASES.values(), *SECURITY_BACKWARDS.values()] for code in expected
    }
    elsewhere = {"SD012", "SD706", "SD709", "SD810", "SD824"}
    assert {rule.code for rule in OWN_RULES} <= planted | of_elements | of_security | elsewhere


def test_every_rule_has_a_row_in_the_docs():
    text = (ROOT / "docs" / "diff-rules.md").read_text()
    rows = re.findall(r"^\| (SD\d{3}) \| (\w+)(†?) \| ([^|]+) \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    expected = [
        (
            rule.code,
            rule.severity.value,
            "†" if rule.is_about_running else "",
            rule.title,
            rule.reason,
            rule.recipe,
        )
        for rule in OWN_RULES
    ]
    assert [tuple(cell.strip() for cell in row) for row in rows] == expected
