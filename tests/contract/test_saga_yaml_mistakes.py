"""Mistakes planted into the shop's saga.yaml: each is reported once, at its place, with a hint, and nothing else is."""

import pytest
from contract_bench import Mistake, check_mistake, shop_yaml

STEPS = shop_yaml()[shop_yaml().index("    steps:\n") :]
STOCK = "call: inventory/ReserveStock"
CONFIRM = "        kind: pivot\n        request: { order_id: saga.id }"
RELEASE = "        compensate: { call: inventory/ReleaseStock, request: { order_id: saga.id } }\n"
REFUND = "compensate: { call: payment/RefundPayment, request: { order_id: saga.id } }"
STEP_DEFAULTS = "{ timeout: 2s, retry: { initial: 50ms, multiplier: 2, max: 2s } }"

SHAPE = (
    Mistake(
        "text that is not YAML",
        (("project: shop", "project: shop«: x"),),
        "SG010",
        "not YAML",
        "fix the YAML here",
    ),
    Mistake(
        "a key twice",
        (("    deadline: 60s\n", "    deadline: 60s\n    «deadline: 90s\n"),),
        "SG011",
        '"deadline" appears twice here; the first is in line 20',
        "remove or rename",
    ),
    Mistake(
        "a misspelt key, which is then taken as meant",
        (("    trigger: shop", "    «triger: shop"),),
        "SG012",
        'no key "triger"',
        'did you mean "trigger"?',
    ),
    Mistake(
        "a key nobody knows",
        (("project: shop", "project: shop\n«colour: blue"),),
        "SG012",
        'no key "colour"',
        "remove it; the keys here are version, project, services, defaults, limits, sagas",
    ),
    Mistake(
        "a step without a call",
        (("- name: reserve_stock\n        call: inventory/ReserveStock", "- «name: reserve_stock"),),
        "SG013",
        'the key "call" is missing',
        "add call: ...",
    ),
    Mistake(
        "a saga without a trigger",
        (
            ("place_order:", "«place_order:"),
            ("    trigger: shop.checkout.v1.CheckoutService/PlaceOrder\n", ""),
        ),
        "SG013",
        'the key "trigger" is missing',
        "add trigger: ...",
    ),
    Mistake(
        "a list where a mapping belongs",
        ((STEP_DEFAULTS, "[2s]"), ("  step: ", "  «step: ")),
        "SG014",
        "a mapping of keys is expected here, not a list",
        "write key: value",
    ),
    Mistake(
        "a number where a text belongs",
        (("name: reserve_stock", "name: «7"),),
        "SG014",
        "not the int 7",
        'in quotes if it is meant as text: "7"',
    ),
    Mistake(
        "nothing where a value belongs",
        (("    trigger: shop.checkout.v1.CheckoutService/PlaceOrder", "    trigger«:"),),
        "SG014",
        "a text is expected here, not nothing",
        "write one value after the key",
    ),
    Mistake(
        "an unknown word",
        (("kind: pivot", "kind: «pivoot"),),
        "SG015",
        '"pivoot"',
        'did you mean "pivot"?',
    ),
    Mistake(
        "an unknown gRPC code",
        (("max: 2s }", "max: 2s, codes: [UNAVAILABLE, «ABORT] }"),),
        "SG015",
        '"ABORT"',
        'did you mean "ABORTED"?',
    ),
    Mistake(
        "a limit that lets nothing through",
        (("project: shop", "project: shop\nlimits: { max_running: «0 }"),),
        "SG019",
        "0 is out of range",
        "from 1 to 1000000",
    ),
    Mistake(
        "a limit that is misspelt, which is then taken as meant",
        (("project: shop", "project: shop\nlimits: { «max_wating: 5 }"),),
        "SG012",
        'no key "max_wating"',
        'did you mean "max_waiting"?',
    ),
    Mistake("another version of the language", (("version: v1", "version: «v2"),), "SG015", '"v2"', "v1"),
    Mistake(
        "a duration without a unit",
        (("deadline: 60s", "deadline: «60"),),
        "SG016",
        '"60" is not a duration',
        "give it a unit: 60s",
    ),
    Mistake(
        "a duration in words",
        (("wait: 10s", "wait: «10 seconds"),),
        "SG016",
        '"10 seconds" is not a duration',
        "write it like 50ms, 2s, 1m30s or 30d",
    ),
    Mistake(
        "a name that no Python or CEL text could hold",
        (("- name: reserve_stock", "- name: «reserve-stock"),),
        "SG017",
        '"reserve-stock" cannot be a name',
        "lower case letters, digits and underscores",
    ),
    Mistake(
        "a merge key",
        (("  step: {", "  step: { «<<: { timeout: 1s },"),),
        "SG018",
        "merge key",
        "write the entries out",
    ),
    Mistake(
        "half a character",
        (("reason: failure.reason }", """reason: «"'\\ud800'" }"""),),
        "SG018",
        "half a character",
        "write the character itself",
    ),
    Mistake("a tag", (("project: shop", "project: «!!str shop"),), "SG018", "a tag", "without its tag"),
    Mistake(
        "a status that is no success",
        (("status: 201", "status: «404"),),
        "SG019",
        "404 is out of range",
        "from 200 to 299",
    ),
    Mistake(
        "a backoff that shrinks",
        (("multiplier: 2, max: 2s", "multiplier: «0.5, max: 2s"),),
        "SG019",
        "0.5 is out of range",
        "from 1",
    ),
)

NAMES = (
    Mistake(
        "an unknown proto service",
        (("[shop.payment.v1.PaymentService]", "[«shop.payment.v1.PaymentServce]"),),
        "SG020",
        'no proto declares a service "shop.payment.v1.PaymentServce"',
        'did you mean "shop.payment.v1.PaymentService" (contracts/shop/payment/v1/payment.proto:8:9)?',
    ),
    Mistake(
        "a service that implements nothing",
        (("  payment: {", "  «idle: { implements: [] }\n  payment: {"),),
        "SG021",
        'service "idle" implements nothing',
        "name a proto service",
    ),
    Mistake(
        "a proto service implemented twice",
        (
            (
                "[shop.payment.v1.PaymentService]",
                "[shop.payment.v1.PaymentService, «shop.order.v1.OrderService]",
            ),
        ),
        "SG022",
        'service "order" does so in line 6',
        "leave it to one of the two",
    ),
    Mistake(
        "a setting for an unknown rpc",
        (("PaymentService] }", "PaymentService], methods: { «ChargePayments: { transaction: manual } } }"),),
        "SG023",
        'has no rpc "ChargePayments"',
        'did you mean "ChargePayment"',
    ),
    Mistake(
        "a manual read",
        (("OrderService] }", "OrderService], methods: { GetOrder: { transaction: «manual } } }"),),
        "SG026",
        '"GetOrder" is a read',
        "remove the setting",
    ),
    Mistake(
        "a service with a name that an environment variable has",
        (
            ("  payment: {", "  «http: {"),
            ("call: payment/ChargePayment", "call: http/ChargePayment"),
            ("call: payment/RefundPayment", "call: http/RefundPayment"),
        ),
        "SG027",
        'cannot be named "http"',
        "choose another name",
    ),
    Mistake(
        "an unknown trigger",
        (("CheckoutService/PlaceOrder", "CheckoutService/PlaceOrdr"), ("trigger: shop", "trigger: «shop")),
        "SG030",
        "no proto declares an rpc",
        'did you mean "shop.checkout.v1.CheckoutService/PlaceOrder" (contracts/shop/checkout/v1/checkout.proto:',
    ),
    Mistake(
        "a trigger that a service implements",
        (
            (
                "trigger: shop.checkout.v1.CheckoutService/PlaceOrder",
                "trigger: «shop.order.v1.OrderService/CreateOrder",
            ),
            ("      body: { order: steps.create_order.order }\n", ""),
            (
                "input.items.map(i, OrderItem{\n"
                "              product_id: i.product_id, quantity: i.quantity,\n"
                "              unit_price_minor: int(i.price * 100.0 + 0.5)})",
                "input.items",
            ),
        ),
        "SG031",
        'service "order" implements it',
        "move the trigger to a proto service that no service implements",
    ),
    Mistake(
        "a call that is no call",
        ((STOCK, "call: «ReserveStock"),),
        "SG063",
        "not of the form service/Method",
        'did you mean "inventory/ReserveStock"',
    ),
    Mistake(
        "an unknown service",
        ((STOCK, "call: «inventry/ReserveStock"),),
        "SG064",
        'no service "inventry"',
        'did you mean "inventory" (contracts/saga.yaml:7:3)?',
    ),
    Mistake(
        "a proto service where the mesh's is meant",
        ((STOCK, "call: «shop.inventory.v1.InventoryService/ReserveStock"),),
        "SG064",
        "no service",
        'did you mean "inventory/ReserveStock"?',
    ),
    Mistake(
        "an unknown rpc",
        ((STOCK, "call: inventory/«ReserveStok"),),
        "SG065",
        'service "inventory" has no rpc "ReserveStok"',
        'did you mean "ReserveStock" (contracts/shop/inventory/v1/inventory.proto:11:7)?',
    ),
    Mistake(
        "an unknown rpc of a compensation",
        (("call: inventory/ReleaseStock", "call: inventory/«ReleaseStocks"),),
        "SG065",
        'has no rpc "ReleaseStocks"',
        'did you mean "ReleaseStock"',
    ),
    Mistake(
        "an unknown step to respond after",
        (("after: create_order", "after: «create_ordr"),),
        "SG073",
        '"create_ordr", which is not a step',
        'did you mean "create_order" (contracts/saga.yaml:28:15)?',
    ),
)

RULES = (
    Mistake(
        "a saga without steps",
        (("  place_order:", "  «place_order:"), (STEPS, "    steps: []\n")),
        "SG060",
        "has no steps",
        "add a step",
    ),
    Mistake(
        "two steps of one name",
        (("- name: charge_payment", "- name: «reserve_stock"),),
        "SG061",
        'already a step "reserve_stock", in line 38',
        "rename one of the two",
    ),
    Mistake(
        "a step named like a moment",
        (("- name: charge_payment", "- name: «completion"),),
        "SG062",
        'cannot be named "completion"',
        "choose another name",
    ),
    Mistake(
        "a missing compensation",
        ((RELEASE, ""), ("- name: reserve_stock", "- name: «reserve_stock")),
        "SG067",
        'step "reserve_stock" does not say how it is compensated',
        "add compensate: { call: inventory/..., request: {...} }, or compensate: none",
    ),
    Mistake(
        "a compensation of the pivot",
        (
            (
                CONFIRM,
                f"{CONFIRM}\n        compensate: {{ call: «order/CancelOrder, request: {{ reason: failure.reason }} }}",
            ),
        ),
        "SG068",
        "a pivot step is never compensated",
        "remove compensate",
    ),
    Mistake(
        "a compensation of a read",
        (
            (STOCK, "call: inventory/GetStock"),
            ("          order_id: saga.id\n          lines: >-\n", "          product_id: >-\n"),
            (
                "            input.items.map(i, StockLine{product_id: i.product_id, quantity: i.quantity})",
                "            input.customer_id",
            ),
            ("call: inventory/ReleaseStock", "call: «inventory/ReleaseStock"),
        ),
        "SG068",
        '"inventory/GetStock" is a read',
        "remove compensate",
    ),
    Mistake(
        "a compensation that only reads",
        (
            (
                "{ call: inventory/ReleaseStock, request: { order_id: saga.id } }",
                "{ call: «inventory/GetStock, request: { product_id: saga.id } }",
            ),
        ),
        "SG069",
        '"inventory/GetStock" is a read: it cannot undo anything',
        'call a write of "inventory"',
    ),
    Mistake(
        "a second pivot",
        (
            ("        kind: pivot\n", "        kind: «pivot\n"),
            ("call: payment/ChargePayment", "call: payment/ChargePayment\n        kind: pivot"),
            (f"        {REFUND}\n", ""),
        ),
        "SG070",
        'step "confirm_order" is a second pivot; the first is "charge_payment" in line 45',
        "make this one retriable",
    ),
    Mistake(
        "a compensatable step after the pivot",
        (
            (
                CONFIRM,
                f"{CONFIRM}\n      - name: «thank\n        call: order/ConfirmOrder\n        compensate: none\n"
                "        request: { order_id: saga.id }",
            ),
        ),
        "SG071",
        'step "thank" is compensatable, but comes after the pivot "confirm_order"',
        "set kind: retriable",
    ),
    Mistake(
        "a retriable step before the pivot",
        ((STOCK, f"{STOCK}\n        kind: «retriable"), (RELEASE, "")),
        "SG072",
        'is before the pivot "confirm_order"',
        "move it after the pivot",
    ),
    Mistake(
        "a retriable step without any pivot",
        (("kind: pivot", "kind: «retriable"),),
        "SG072",
        "in a saga without a pivot",
        "mark the go/no-go step before it as kind: pivot",
    ),
    Mistake(
        "an attempt longer than the deadline",
        ((STOCK, f"{STOCK}\n        timeout: «2m"),),
        "SG074",
        "may take 120s, longer than the saga's deadline of 60s",
        "shorten the timeout, or extend the deadline",
    ),
    Mistake(
        "a budget on a step that the deadline bounds",
        (("multiplier: 2, max: 2s", "multiplier: 2, max: 2s, give_up_after: «1h"),),
        "SG075",
        '"give_up_after" has no effect on a compensatable step',
        "remove give_up_after",
    ),
    Mistake(
        "a limit of attempts on a compensation",
        (("give_up_after: 24h", "give_up_after: 24h, max_attempts: «5"),),
        "SG075",
        '"max_attempts" has no effect on a compensation',
        "remove max_attempts",
    ),
    Mistake(
        "a limit of attempts on the pivot",
        (("kind: pivot", "kind: pivot\n        retry: { max_attempts: «5 }"),),
        "SG075",
        "a pivot with an unknown outcome is repeated",
        "remove max_attempts",
    ),
    Mistake(
        "a first wait longer than the longest",
        (("initial: 50ms", "initial: «5s"),),
        "SG076",
        "retry.initial, the first wait (5s), is longer than retry.max (2s)",
        "make initial the smaller",
    ),
    Mistake(
        "a service that forgets before the saga can be over",
        (("PaymentService] }", "PaymentService], retention: «4d1m }"),),
        "SG077",
        'service "payment" forgets calls after 4d1m, but saga "place_order" may need them for 4d1m',
        "set the service's retention to more than 4d1m",
    ),
    Mistake(
        "a budget longer than a service remembers",
        (
            ("give_up_after: 24h", "give_up_after: 12d"),
            ("  order: {", "  order: { retention: 99d,"),
            ("  payment: {", "  payment: { retention: 60d,"),
            ("conflict, retention: 30d", "conflict, retention: 99d"),
            ("  inventory: {", "  «inventory: {"),
        ),
        "SG077",
        'service "inventory" forgets calls after 30d, but saga "place_order" may need them for 48d1m',
        "or shorten give_up_after",
    ),
)

EXPRESSIONS = (
    Mistake(
        "a field that the request lacks",
        (("amount_minor:", "«amount_minr:"),),
        "SG102",
        "amount_minr",
        "amount_minor",
    ),
    Mistake(
        "a field that the input lacks",
        (("amount_minor: steps.create_order.order.total_minor", "amount_minor: int(input.«totl)"),),
        "SG102",
        "totl",
        "",
    ),
    Mistake(
        "an unknown type",
        (("StockLine{product_id", "«StokLine{product_id"),),
        "SG109",
        "StokLine",
        "StockLine",
    ),
    Mistake(
        "an unknown step",
        (("steps.create_order.order.total_minor", "steps.«create_ordr.order.total_minor"),),
        "SG103",
        "create_ordr",
        "create_order",
    ),
    Mistake(
        "a step read before it has run",
        (("{ order: steps.create_order.order }", "{ order: steps.«confirm_order.order }"),),
        "SG104",
        "it runs after the answer",
        "",
    ),
    Mistake(
        "a later step read in a request",
        (
            (
                "          order_id: saga.id\n          lines",
                "          order_id: steps.«charge_payment.payment_id\n          lines",
            ),
        ),
        "SG104",
        "it runs later",
        "",
    ),
    Mistake(
        "a compensation that reads its own step's response",
        (("reason: failure.reason", "reason: steps.«create_order.order.customer_id"),),
        "SG104",
        "its response may be unknown",
        "",
    ),
    Mistake(
        "a type error deep in a folded expression",
        (("unit_price_minor: int(i.price * 100.0 + 0.5)", "unit_price_minor: «i.price"),),
        "SG105",
        "double",
        "",
    ),
    Mistake(
        "a failure outside of compensations",
        (
            (
                "customer_id: input.customer_id\n          amount",
                "customer_id: «failure.reason\n          amount",
            ),
        ),
        "SG119",
        "failure",
        "",
    ),
)

MISTAKES = (*SHAPE, *NAMES, *RULES, *EXPRESSIONS)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_planted_mistake_is_reported_at_its_place_and_nothing_else_is(mistake: Mistake) -> None:
    check_mistake(mistake)
