"""Mistakes in every corner of saga.yaml: each is reported once, at its place, with a hint, and nothing else is."""

import pytest
from contract_bench import Mistake, brief, check_mistake, edited, place, resolve_yaml, shop_yaml

from sagagen.diagnostics import Severity

STOCK = "call: inventory/ReserveStock"
RELEASE = "compensate: { call: inventory/ReleaseStock, request: { order_id: saga.id } }"
CONFIRM = "        kind: pivot\n        request: { order_id: saga.id }"
WAIVE = "project: shop\nwaivers: [{ rule: SD506, reason: why, until: 2027-06-30 }]"


def waiver(old: str, new: str) -> tuple[tuple[str, str], ...]:
    return (("project: shop", WAIVE.replace(old, new)),)


PROOFS = (
    Mistake(
        "a first wait as long as the deadline",
        ((STOCK, f"{STOCK}\n        retry: {{ initial: «60s, max: 2m }}"),),
        "SG079",
        'step "reserve_stock" may never be retried',
        "shorten retry.initial",
    ),
    Mistake(
        "a compensation at another service",
        ((RELEASE, "compensate: { call: «order/ConfirmOrder, request: { order_id: saga.id } }"),),
        "SG080",
        'acts at "inventory", but is undone at "order"',
        'call an rpc of "inventory"',
    ),
    Mistake(
        "a request without a field that validation demands",
        ((CONFIRM, "        kind: pivot\n        request: «{}"),),
        "SG081",
        'the request of step "confirm_order" leaves out fields that ConfirmOrderRequest must have: order_id',
        "add order_id: ...",
    ),
    Mistake(
        "no request where validation demands one",
        ((CONFIRM, "        kind: pivot"), ("call: order/ConfirmOrder", "call: «order/ConfirmOrder")),
        "SG081",
        "must have: order_id (must be at least 1 characters)",
        "add order_id: ...",
    ),
    Mistake(
        "a compensation without its fields",
        (("{ order_id: saga.id, reason: failure.reason }", "«{}"),),
        "SG081",
        'the compensation of "create_order"',
        "add order_id: ..., reason: ...",
    ),
    Mistake(
        "an answer without content that has some",
        (("status: 201", "status: «204"),),
        "SG082",
        "an answer with status 204 has no body",
        "remove body, or answer with status 200 or 201",
    ),
)
KEYS = (
    Mistake(
        "a key of a compensation",
        ((RELEASE, RELEASE.replace("request", "«requst")),),
        "SG012",
        '"requst"',
        'mean "request"?',
    ),
    Mistake(
        "a key of a retry",
        (("initial: 50ms", "«inital: 50ms"),),
        "SG012",
        '"inital"',
        'did you mean "initial"?',
    ),
    Mistake(
        "a key of idempotency",
        (("on_concurrent: conflict", "«concurrent: conflict"),),
        "SG012",
        '"concurrent"',
        'mean "on_concurrent"?',
    ),
    Mistake(
        "a key of respond",
        (("      wait: 10s", "      «wait_for: 10s"),),
        "SG012",
        '"wait_for"',
        'did you mean "wait"?',
    ),
    Mistake(
        "a key of a service",
        (("OrderService] }", "OrderService], «retension: 30d }"),),
        "SG012",
        '"retension"',
        'mean "retention"?',
    ),
    Mistake(
        "a key of a method",
        (
            (
                "OrderService] }",
                "OrderService], methods: { CreateOrder: { transaction: local, «isolation: x } } }",
            ),
        ),
        "SG012",
        '"isolation"',
        "remove it",
    ),
    Mistake("a key of a waiver", waiver("reason", "«reson"), "SG012", '"reson"', 'did you mean "reason"?'),
    Mistake(
        "a waiver without its end",
        waiver("rule: SD506, reason: why, until: 2027-06-30", "«rule: SD506, reason: why"),
        "SG013",
        '"until"',
        "add until: ...",
    ),
    Mistake(
        "a read that is neither true nor false",
        (("OrderService] }", "OrderService], methods: { CreateOrder: { read: «maybe } } }"),),
        "SG014",
        'true or false is expected here, not "maybe"',
        "write true or false, without quotes",
    ),
    Mistake(
        "two services of one name",
        (("  payment: {", "  payment: { implements: [shop.payment.v1.PaymentService] }\n  «payment: {"),),
        "SG011",
        "line 8",
        "remove or rename",
    ),
    Mistake(
        "a step with two calls",
        ((STOCK, f"{STOCK}\n        «{STOCK}"),),
        "SG011",
        '"call"',
        "remove or rename",
    ),
)
SHAPES = (
    Mistake(
        "services in a list",
        (
            ("services:\n  order: {", "«services:\n  - order: {"),
            ("  inventory: {", "  - inventory: {"),
            ("  payment: {", "  - payment: {"),
        ),
        "SG014",
        "a mapping of keys",
        "key: value",
    ),
    Mistake(
        "limits as a number",
        (("project: shop", "project: shop\nlimits: «5"),),
        "SG014",
        "a mapping of keys",
        "key: value",
    ),
    Mistake(
        "codes as one word",
        (("initial: 50ms", "codes: «UNAVAILABLE, initial: 50ms"),),
        "SG014",
        "a list is expected",
        "after a dash",
    ),
    Mistake(
        "a version in words",
        (("    version: 1", "    version: «one"),),
        "SG014",
        "a whole number",
        "for example 1",
    ),
    Mistake(
        "a waiver that is a text",
        (("project: shop", "project: shop\nwaivers: [«SD506]"),),
        "SG014",
        "a mapping of keys",
        "key: value",
    ),
    Mistake(
        "a status that is a text",
        (("status: 201", "status: «'201'"),),
        "SG014",
        "a whole number",
        "for example 200",
    ),
    Mistake(
        "a multiplier in words",
        (("initial: 50ms, multiplier: 2", "initial: 50ms, multiplier: «two"),),
        "SG014",
        "a number is expected",
        "for example 2",
    ),
)
WORDS = (
    Mistake(
        "how a duplicate is met",
        (("on_concurrent: conflict", "on_concurrent: «conflit"),),
        "SG015",
        '"conflit"',
        'did you mean "conflict"?',
    ),
    Mistake(
        "whether a key is needed",
        (("key: required", "key: «needed"),),
        "SG015",
        '"needed"',
        "optional, required",
    ),
    Mistake(
        "who opens the transaction",
        (("OrderService] }", "OrderService], methods: { CreateOrder: { transaction: «manuel } } }"),),
        "SG015",
        '"manuel"',
        'mean "manual"?',
    ),
    Mistake("a compensation in a word", ((RELEASE, "compensate: «nothing"),), "SG015", '"nothing"', "none"),
    Mistake(
        "a negative duration", (("deadline: 60s", "deadline: «-60s"),), "SG016", '"-60s"', "write it like"
    ),
    Mistake(
        "a unit that there is not", (("retention: 30d", "retention: «4w"),), "SG016", '"4w"', "write it like"
    ),
    Mistake(
        "a duration of nothing",
        (("timeout: 2s", "timeout: «0s"),),
        "SG019",
        "longer than zero",
        "for example 2s",
    ),
    Mistake(
        "version nought", (("    version: 1", "    version: «0"),), "SG019", "0 is out of range", "from 1"
    ),
    Mistake(
        "no attempt at all",
        (("initial: 50ms", "max_attempts: «0, initial: 50ms"),),
        "SG019",
        "0 is out of range",
        "from 1 to 1000",
    ),
    Mistake(
        "too many calls",
        (("project: shop", "project: shop\nlimits: { calls_per_service: «5000 }"),),
        "SG019",
        "5000",
        "to 1024",
    ),
    Mistake(
        "a saga in capitals", (("  place_order:", "  «PlaceOrder:"),), "SG017", '"PlaceOrder"', "lower case"
    ),
    Mistake(
        "a project with a space",
        (("project: shop", "project: «my shop"),),
        "SG017",
        '"my shop"',
        "lower case",
    ),
    Mistake(
        "a service with a dash",
        (
            ("  payment: {", "  «pay-ment: {"),
            ("call: payment/ChargePayment", "call: order/GetOrder"),
            (
                "compensate: { call: payment/RefundPayment, request: { order_id: saga.id } }",
                "compensate: none",
            ),
            (
                "          customer_id: input.customer_id\n          amount_minor: steps.create_order.order.total_minor\n",
                "",
            ),
        ),
        "SG017",
        '"pay-ment"',
        "lower case",
    ),
    Mistake(
        "a day that no month has", waiver("2027-06-30", "«2027-06-31"), "SG078", '"2027-06-31"', "2026-12-31"
    ),
    Mistake("a day in words", waiver("2027-06-30", "«next summer"), "SG078", '"next summer"', "2026-12-31"),
)
YAML = (
    Mistake("a tab for indentation", (("  order: {", "«\torder: {"),), "SG010", "not YAML", "fix the YAML"),
    Mistake(
        "an alias without an anchor",
        (("deadline: 60s", "deadline: «*all"),),
        "SG010",
        "not YAML",
        "fix the YAML",
    ),
    Mistake(
        "an alias inside its anchor",
        (("project: shop", "project: shop\nwaivers: «&w [*w]"),),
        "SG018",
        "alias",
        "write the value out",
    ),
    Mistake(
        "a key that is a list",
        (("  order: {", "  ? «[a]\n  : { implements: [] }\n  order: {"),),
        "SG018",
        "a key that is not plain text",
        "use a name",
    ),
    Mistake("a tag on a mapping", (("  step: {", "  step: «!mine {"),), "SG018", "a tag", "without its tag"),
)
NAMES = (
    Mistake(
        "a trigger without its service",
        (("trigger: shop.checkout.v1.CheckoutService/PlaceOrder", "trigger: «PlaceOrder"),),
        "SG063",
        "package.Service/Method",
        "CheckoutService/PlaceOrder",
    ),
    Mistake(
        "a trigger of an unknown service",
        (("trigger: shop.checkout.v1.CheckoutService/", "trigger: «shop.checkout.v1.CheckoutServic/"),),
        "SG030",
        "no proto declares",
        'CheckoutService/PlaceOrder"',
    ),
    Mistake(
        "an unknown service of a compensation",
        (("call: inventory/ReleaseStock", "call: «inventori/ReleaseStock"),),
        "SG064",
        '"inventori"',
        'did you mean "inventory"',
    ),
    Mistake(
        "a call with a dot",
        ((STOCK, "call: «inventory.ReserveStock"),),
        "SG063",
        "service/Method",
        'mean "inventory/ReserveStock"',
    ),
    Mistake(
        "a second proto service that there is not",
        (("[shop.order.v1.OrderService]", "[shop.order.v1.OrderService, «shop.order.v1.OrdersService]"),),
        "SG020",
        "OrdersService",
        'mean "shop.order.v1.OrderService"',
    ),
    Mistake(
        "the gateway as a service",
        (
            ("  payment: {", "  «gateway: {"),
            ("call: payment/ChargePayment", "call: gateway/ChargePayment"),
            ("call: payment/RefundPayment", "call: gateway/RefundPayment"),
        ),
        "SG027",
        "the gateway's process",
        "another name",
    ),
    Mistake(
        "a step named like the other moment",
        (("- name: charge_payment", "- name: «acceptance"),),
        "SG062",
        '"acceptance"',
        "another name",
    ),
    Mistake(
        "an answer after a moment that there is not",
        (("after: create_order", "after: «completed"),),
        "SG073",
        '"completed"',
        'did you mean "completion"',
    ),
    Mistake(
        "a setting for an rpc of another service",
        (("OrderService] }", "OrderService], methods: { «ChargePayment: { transaction: manual } } }"),),
        "SG023",
        '"ChargePayment"',
        "CreateOrder",
    ),
)
STEPS = (
    Mistake(
        "a retriable step that is undone",
        (
            (
                CONFIRM,
                f"{CONFIRM}\n      - name: thank\n        call: order/ConfirmOrder\n        kind: retriable\n        request: {{ order_id: saga.id }}\n        compensate: {{ call: «order/CancelOrder, request: {{ order_id: saga.id, reason: failure.reason }} }}",
            ),
        ),
        "SG068",
        "a retriable step is never compensated",
        "remove compensate",
    ),
    Mistake(
        "codes of the pivot",
        (("kind: pivot", "kind: pivot\n        retry: { codes: [«ABORTED] }"),),
        "SG075",
        '"codes" has no effect on a pivot',
        "remove codes",
    ),
    Mistake(
        "codes of a compensation",
        ((RELEASE, RELEASE.replace("request:", "retry: { codes: [«ABORTED] }, request:")),),
        "SG075",
        '"codes" has no effect on a compensation',
        "remove codes",
    ),
    Mistake(
        "a backoff of a compensation",
        ((RELEASE, RELEASE.replace("request:", "retry: { initial: «40s, max: 10s }, request:")),),
        "SG076",
        "retry.initial, the first wait (40s), is longer than retry.max (10s)",
        "the smaller",
    ),
    Mistake(
        "an attempt of the defaults that is too long",
        (("step: { timeout: 2s", "step: { timeout: «61s"),),
        "SG074",
        '"reserve_stock", "charge_payment" may take 61s',
        "shorten the timeout",
    ),
)
EXPRESSIONS = (
    Mistake("a text without quotes", (("reason: failure.reason", "reason: out «of stock"),), "SG100", "", "quotes"),
    Mistake("an unknown variable", (("customer_id: input.customer_id\n          items", "customer_id: «inptu.customer_id\n          items"),), "SG101", "inptu", "input"),
    Mistake("an unknown field of the answer", (("body: { order:", "body: { «ordr:"),), "SG102", "ordr", "order"),
    Mistake("arithmetic in the answer", (("body: { order: steps.create_order.order }", "body: { order: steps.create_order.order.total_minor «+ 1 }"),), "SG113", "", "step"),
    Mistake("an unknown step in the answer", (("body: { order: steps.create_order.order }", "body: { order: steps.«create_orders.order }"),), "SG103", "create_orders", "create_order"),
    Mistake("an unknown reason", (("reason: failure.reason", "reason: failure.«why"),), "SG102", "why", ""),
    Mistake("arithmetic in a compensation", (("reason: failure.reason", "reason: string(size(input.items) «/ 2)"),), "SG113", "", "step"),
    Mistake("an operator between int and double", (("i.price * 100.0", "i.price «* 100"),), "SG106", "", "double(...)"),
    Mistake("an unknown function", (("int(i.price * 100.0 + 0.5)", "«integer(i.price * 100.0 + 0.5)"),), "SG107", "integer", ""),
    Mistake("a number that never fits", (("product_id: i.product_id, quantity: i.quantity})", "product_id: i.product_id, quantity: «3000000000})"),), "SG114", "", "2147483647"),
    Mistake("a mapping for a list", (("          lines: >-\n            input.items.map(i, StockLine{product_id: i.product_id, quantity: i.quantity})", "          lines: «{ product_id: input.customer_id }"),), "SG122", "", "a list"),
    Mistake("a text for a message", (("body: { order: steps.create_order.order }", "body: { order: «input.customer_id }"),), "SG105", "", ""),
)  # fmt: skip

MISTAKES = (*PROOFS, *KEYS, *SHAPES, *WORDS, *YAML, *NAMES, *STEPS, *EXPRESSIONS)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_reported_at_its_place_and_nothing_else_is(mistake: Mistake) -> None:
    check_mistake(mistake)


def test_a_first_wait_of_the_defaults_is_named_where_the_deadline_is() -> None:
    text = edited(
        shop_yaml(),
        (
            ("initial: 50ms, multiplier: 2, max: 2s", "initial: 61s, max: 2m"),
            ("deadline: 60s", "deadline: «60s"),
        ),
    )
    found = resolve_yaml(text)[1]
    assert brief(found) == [(place(text), "SG079")]
    assert 'steps "create_order", "reserve_stock", "charge_payment" may never be retried' in found[0].message


def test_answers_that_are_forgotten_first_are_a_warning() -> None:
    text = edited(shop_yaml(), (("conflict, retention: 30d", "conflict, retention: «7d"),))
    mesh, found = resolve_yaml(text)
    assert brief(found) == [(place(text), "SG083")]
    assert found[0].severity is Severity.WARNING
    assert 'answers are kept for 7d, but service "order" remembers calls for 30d' in found[0].message
    assert mesh is not None


ABOUT_A_VALUE = [one for one in MISTAKES if one.code in {"SG014", "SG015", "SG016", "SG017", "SG019"}]


@pytest.mark.parametrize("mistake", ABOUT_A_VALUE, ids=str)
def test_what_is_said_about_a_value_names_its_key(mistake: Mistake) -> None:
    text = edited(shop_yaml(), mistake.edits).replace("«", "")
    _, found = resolve_yaml(text)
    key = found[0].message.partition(": ")[0].rpartition(".")[2]
    lines = text.splitlines()[: found[0].at.line]
    assert any(f"{key}:" in line for line in lines), found[0].message


def test_a_step_named_twice_has_no_followers() -> None:
    """Which of the two a later step means nobody knows: it may fit either."""
    text = edited(shop_yaml(), (("name: reserve_stock", "name: «create_order"),))
    text = text.replace("order_id: saga.id,", "order_id: steps.create_order.nothing,")
    _, found = resolve_yaml(text)
    assert [each.code for each in found] == ["SG061"]
