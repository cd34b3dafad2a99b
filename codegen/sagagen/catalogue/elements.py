"""Codes about elements: calls, waits, delays and parallel blocks; and about events, the cancel and the start."""

from collections.abc import Iterator

from sagagen.catalogue.entry import Entry, Section

NAP = "- { name: nap, delay: { after: 5m } }"
PREPARE = "- name: prepare\n        parallel:"
WAIT = "wait: answered\n              within: 10m"
LOOP = "for_each: { item: dish, in: input.dishes, key: dish.product_id }"
BILL = "{ name: print_bill, call: order/ConfirmOrder, request: { order_id: saga.id }, compensate: 'none' }"
HANDED_OVER = '- { name: handed_over, kind: "pivot", wait: picked_up, within: 90m }'
RATING = '- { name: rating, kind: "retriable", wait: rated, within: 2d }'
REST = "delay: { at: input.deliver_at, at_most: 1d }"
ANSWERED = "rpc: shop.v1.TabletService/AnswerTicket, saga_id: event.order_id, allow: caller != ''"


def _elements() -> Iterator[Entry]:
    yield Entry(
        "SG200",
        "An element of a list of steps is two things at once: it has two of `call`, `wait`, `delay` and `parallel`.",
        "Make two elements of it.",
        "- { name: nap, delay: { after: 5m }, wait: answered }",
        NAP,
    )
    yield Entry(
        "SG201",
        "A key that belongs to another kind of element: a wait has no `timeout`, a block no `compensate`.",
        "Do what the hint says; docs/saga-yaml.md has a table of all keys.",
        "wait: answered\n              timeout: 10m",
        WAIT,
    )
    yield Entry(
        "SG202",
        "A saga as a step of another saga, which this edition does not have.",
        "Write its steps here, or let a handler start it through the gateway.",
        "- { name: nap, saga: return_order }",
        NAP,
    )
    yield Entry(
        "SG203",
        "The pivot stands in a block, may be skipped or is repeated; or it is a delay or a block.",
        "Make one call or wait at the top level the pivot: a saga has one point of no return.",
        '- { name: handed_over, kind: "pivot", wait: picked_up, within: 90m, when: has(input.deliver_at) }',
        HANDED_OVER,
    )
    yield Entry(
        "SG204",
        "A step in a block has another kind than its block, or a block behind the pivot does not say that it is "
        "retriable.",
        "Say the kind at the block; its steps need not repeat it.",
        'wait: answered\n              kind: "retriable"\n              within: 10m',
        WAIT,
    )
    yield Entry(
        "SG205",
        "A block without branches, or a branch without steps.",
        "Add a step, or remove it.",
        "gather\n        parallel: { empty: [], paper: ",
        "gather\n        parallel: { paper: ",
    )
    yield Entry(
        "SG206",
        "Two branches of a block write through the same service. Its writes are committed one after the other, in "
        "any order; nothing goes wrong, and neither waits for the other branch.",
        "Leave it, if their order does not matter; otherwise put the steps into one branch.",
        f'{{ bill: [{{ name: look_up, call: order/TakeBack, request: {{ order_id: saga.id }}, compensate: "none" }}], '
        f"paper: [{BILL}] }}",
        f"{{ paper: [{BILL}] }}",
        is_note=True,
    )
    yield Entry(
        "SG207",
        "`on_give_up: continue` on a step that is not retriable: before the pivot a saga that can't go on turns back.",
        "Remove it, or move the step behind the pivot.",
        f"{LOOP}\n              on_give_up: continue",
        LOOP,
    )
    yield Entry(
        "SG208",
        "The `key` of a loop does not read the item, so all items would have the same key.",
        "Write what tells the items apart; without `key` they are numbered.",
        LOOP.replace("dish.product_id", "input.customer_id"),
        LOOP,
    )


def _times() -> Iterator[Entry]:
    yield Entry(
        "SG210",
        "A `delay` or a `start` says neither `after` nor `at`, or both.",
        "Keep one of the two.",
        "- { name: nap, delay: {} }",
        NAP,
    )
    yield Entry(
        "SG211",
        "`at_most` beside a fixed time, which it can't bound.",
        "Remove it.",
        "- { name: nap, delay: { after: 5m, at_most: 10m } }",
        NAP,
    )
    yield Entry(
        "SG212",
        "A delay behind the pivot whose end is an expression: nothing says how late it may be, and so how long "
        "services must remember the saga.",
        "Add `at_most`.",
        "delay: { at: input.deliver_at }",
        REST,
    )
    yield Entry(
        "SG213",
        "Waits (`within`) and fixed delays before the pivot take as long as the saga's deadline, or longer: the saga "
        "would turn back before they end.",
        "Extend the deadline, or shorten them.",
        "wait: answered\n              within: 3h",
        WAIT,
    )
    yield Entry(
        "SG214",
        "The saga may start later, but its request is answered only after a step.",
        "Set `respond: { after: acceptance, status: 202 }`.",
        "respond: { after: completion, status: 202 }",
        "respond: { after: acceptance, status: 202 }",
    )


def _events() -> Iterator[Entry]:
    yield Entry(
        "SG220",
        "A wait names an event that the saga does not have.",
        "Correct it, or declare the event under `events`.",
        "wait: anserd\n              within: 10m",
        WAIT,
    )
    yield Entry(
        "SG221",
        "An event for which no element waits: it could never be accepted.",
        "Add an element with `wait`, or remove the event.",
        f"extra: {{ rpc: shop.v1.TabletService/Unrouted, saga_id: event.order_id, allow: 'true' }}\n"
        f"      answered: {{ {ANSWERED} }}",
        f"answered: {{ {ANSWERED} }}",
    )
    yield Entry(
        "SG222",
        "An rpc that brings an event also starts a saga, or brings another event, or another saga finds its instances "
        "by another `saga_id`.",
        "Give it an rpc of its own.",
        ANSWERED.replace("AnswerTicket", "CancelDelivery"),
        ANSWERED,
    )
    yield Entry(
        "SG223",
        "An event without `allow` can be sent by anybody who may call the gateway.",
        "Say who may send it (`allow: caller == input.owner_id`), or that everybody may (`allow: true`).",
        ANSWERED.replace(", allow: caller != ''", ""),
        ANSWERED,
        is_note=True,
    )
    yield Entry(
        "SG224",
        "A wait behind the pivot without `within`: no deadline ends it.",
        "Say how long it waits.",
        '- { name: rating, kind: "retriable", wait: rated }',
        RATING,
    )
    yield Entry(
        "SG225",
        "A wait behind the pivot that declines or times out with a reason: nothing turns the saga back any more.",
        "Say `on_timeout: continue`, or move the wait before the pivot.",
        f"{RATING[:-2]}, on_timeout: {{ decline: NOT_RATED }} }}",
        RATING,
    )
    yield Entry(
        "SG226",
        "A wait that is the pivot goes on when nothing has come.",
        "Remove `on_timeout: continue`: without the event the saga turns back.",
        f"{HANDED_OVER[:-2]}, on_timeout: continue }}",
        HANDED_OVER,
    )


SECTIONS = (
    Section("Elements of a saga: SG200 to SG219", (*_elements(), *_times())),
    Section("Events and waits: SG220 to SG239", tuple(_events())),
)
