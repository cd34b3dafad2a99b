"""Codes about expressions."""

from collections.abc import Iterator

from sagagen.catalogue.entry import Entry, Section


def _names() -> Iterator[Entry]:
    yield Entry(
        "SG100",
        "The text is not an expression.",
        "Put quotes around a text inside the YAML: `\"'a text'\"`.",
        "note: hello world",
        "note: \"'hello world'\"",
    )
    yield Entry(
        "SG101",
        "There is no variable of this name here.",
        "Write `input`, `steps`, `saga`, the variable of a macro, or (in compensations) `failure`.",
        "customer_id: inputs.customer_id",
        "customer_id: input.customer_id",
    )
    yield Entry(
        "SG102",
        "The message has no such field.",
        "Write the field's name as in the proto file.",
        "first_sku: input.skuu",
        "first_sku: input.sku",
    )
    yield Entry(
        "SG103",
        "The saga has no such step.",
        "Write the name of a step.",
        "amount_minor: steps.create_ordr.order.total_minor",
        "amount_minor: steps.create_order.order.total_minor",
    )
    yield Entry(
        "SG104",
        "The step's response is not known here: the step runs later, or its outcome may be unknown.",
        "Read a step that is done by then.",
        "reference: steps.charge_payment.payment_id",
        "reference: steps.create_order.order.order_id",
    )
    yield Entry(
        "SG105",
        "The value and the field have different types.",
        "Give a value of the field's type, or convert it: `int(...)`, `string(...)`.",
        "weight: input.customer_id",
        "weight: double(input.quantity)",
    )
    yield Entry(
        "SG106",
        "The operator does not take these operands; int, uint and double never mix.",
        "Convert one side.",
        "price: input.quantity * 1.5",
        "price: double(input.quantity) * 1.5",
    )
    yield Entry(
        "SG107",
        "There is no such function or macro.",
        "Write one that exists; the hint names the closest ones.",
        "lines: len(input.items)",
        "lines: size(input.items)",
    )
    yield Entry(
        "SG108",
        "The function or macro takes other arguments.",
        "Pass the arguments that it takes.",
        "has_note: has(input)",
        "has_note: has(input.note)",
    )
    yield Entry(
        "SG109",
        "There is no such message or enum.",
        "Write its name, or the full name if it is of another package than the called rpc.",
        'items: "input.items.map(i, OrderItm{product_id: i.product_id})"',
        'items: "input.items.map(i, OrderItem{product_id: i.product_id})"',
    )
    yield Entry(
        "SG110",
        "The enum has no such value.",
        "Write a value of the enum.",
        "status: Order.Status.PENDIN",
        "status: Order.Status.PENDING",
    )
    yield Entry(
        "SG111",
        "Two members of one oneof are set; a message keeps only one.",
        "Remove one, or choose between two whole messages with `? :`.",
        "payment: { card: input.card, invoice: input.invoice }",
        "payment: { card: input.card }",
    )
    yield Entry(
        "SG112",
        "A field is set twice, or a map has a key twice.",
        "Remove one of the two.",
        "gift: \"Gift{text: 'a', text: 'b'}\"",
        "gift: \"Gift{text: 'a', size: 2}\"",
    )


def _values() -> Iterator[Entry]:
    yield Entry(
        "SG113",
        "Building a compensation's request, or the answer, must never fail: no arithmetic, index, map lookup, "
        "narrowing or parsing.",
        "Compute it in a step, and read it from that step's response.",
        "refund_minor: steps.create_order.order.total_minor + 1",
        "refund_minor: steps.create_order.order.total_minor",
    )
    yield Entry(
        "SG114",
        "The value never fits.",
        "Give a number that fits, or the field a wider type.",
        "copies: 3000000000",
        "copies: 3",
    )
    yield Entry(
        "SG115",
        "The contents of Any, Struct, Value and ListValue can't be checked.",
        "Pass it on as a whole, to a field of the same type; or use a message of its own, or a map.",
        "source: input.metadata",
        "source: input.source",
    )
    yield Entry(
        "SG116",
        "Timestamps and durations are passed on, never computed or compared.",
        "Compute it in a handler.",
        "start_time: input.start_time + duration('1h')",
        "start_time: input.start_time",
    )
    yield Entry(
        "SG117",
        "The branches of `? :`, or the elements of a list or map, have different types.",
        "Give them one type.",
        'comment: "has(input.note) ? input.note : 0"',
        "comment: \"has(input.note) ? input.note : 'none'\"",
    )
    yield Entry(
        "SG118",
        "Only wrapper fields (google.protobuf.StringValue and the like) can be null.",
        "Ask with `has(...)`, or leave the field out.",
        "is_first: input.previous == null",
        'is_first: "!has(input.previous)"',
    )
    yield Entry(
        "SG119",
        "`failure` is known only in compensations.",
        "Read it in `compensate`.",
        "reason: failure.message",
        "reason: input.reason",
    )
    yield Entry(
        "SG120",
        "map, filter, exists and all do not run over a map, which has no order.",
        "Use a repeated field.",
        "tags: input.labels.map(k, k)",
        "tags: input.tags.filter(t, t != '')",
    )
    yield Entry(
        "SG121",
        "There are no regular expressions.",
        "Use `==`, `startsWith`, `endsWith` or `contains`, or validate with buf.validate.",
        "is_special: input.sku.matches('^A')",
        "is_special: input.sku.startsWith('A')",
    )
    yield Entry(
        "SG122",
        "The YAML's shape does not fit the field.",
        "Write a list for a repeated field, a mapping for a message or map, or an expression.",
        "extras: { product_id: input.sku }",
        "extras: [{ product_id: input.sku }]",
    )
    yield Entry(
        "SG123",
        "A literal can't be read: an unknown escape, a text without a closing quote, a number out of range.",
        "Double the backslash, or write a raw text: `r'...'`.",
        "pattern: \"'\\\\d'\"",
        "pattern: \"r'\\\\d'\"",
    )
    yield Entry(
        "SG124",
        "Messages can't be compared, and neither can lists and maps of messages or doubles.",
        "Compare their fields.",
        "is_same: input.previous == input.next",
        "is_same: input.previous.order_id == saga.id",
    )
    yield Entry(
        "SG125",
        "The value has no fields to select.",
        "Select a field of a message.",
        "payer: input.customer_id.name",
        "payer: input.customer_id",
    )
    yield Entry(
        "SG126",
        "The value is not known yet where the expression is evaluated.",
        "Read what is known there; the hint lists it.",
        "saga_id: input.customer_id, allow: caller != ''",
        "saga_id: event.order_id, allow: caller != ''",
    )
    yield Entry(
        "SG127",
        "The step may have no response: it may be skipped, given up, or time out.",
        "Ask with `has(steps.x)`: before `?`, left of `&&`, or in the `when` of the step that reads it.",
        "order_id: steps.rating.order_id",
        'order_id: "has(steps.rating) ? steps.rating.order_id : saga.id"',
    )
    yield Entry(
        "SG128",
        "An index would hold a field that the proto marks `debug_redact`.",
        "Index another field.",
        "index: { customer: input.email }",
        "index: { customer: input.customer_id }",
    )
    yield Entry(
        "SG129",
        "An expression that begins with `!` is not in quotes: YAML reads a tag there, and loses it.",
        "Put the expression in quotes.",
        "is_first: !has(input.previous)",
        'is_first: "!has(input.previous)"',
    )
    yield Entry(
        "SG130",
        "YAML reads this in its own way unless it is in quotes: `a ? b : c`, `'a' == b`, `{ in: xs.map(x, x.id) }`.",
        "Put the expression in quotes.",
        "comment: has(input.note) ? input.note : 'none'",
        "comment: \"has(input.note) ? input.note : 'none'\"",
    )
    yield Entry(
        "SG131",
        "The variable of a loop has a name that means something else in expressions.",
        "Use another name: letters, digits and underscores.",
        'for_each: { item: caller, in: input.dishes }\n              call: "inventory/ReserveStock"\n'
        "              request: { order_id: saga.id, reference: caller.product_id }",
        "for_each: { item: dish, in: input.dishes, key: dish.product_id }\n"
        '              call: "inventory/ReserveStock"\n'
        "              request: { order_id: saga.id, reference: dish.product_id }",
    )
    yield Entry(
        "SG132",
        "No scheme of the contract names the claim.",
        "Correct the name, or name the claim and its type under `security.schemes.<name>.claims`.",
        "allow: claims.tennant != ''",
        "allow: claims.tenant != ''",
    )


SECTIONS = (Section("Expressions: SG100 to SG139", (*_names(), *_values())),)
