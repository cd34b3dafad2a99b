"""Mistakes in elements of a saga and in events: each is reported once, at its place, and nothing else is."""

import pytest
from contract_bench import brief, delivery_yaml, edited, place, resolve_delivery

ANSWER = "wait: answered\n              within: 10m"
DECLINE = 'decline: { when: "!event.accepted", reason: RESTAURANT_SAID_NO }'
SILENT = "on_timeout: { decline: RESTAURANT_SILENT }"
FOR_EACH = "for_each: { item: dish, in: input.dishes, key: dish.dish_id, at_once: 5 }"
LOOP = delivery_yaml()[
    delivery_yaml().index("        for_each") : delivery_yaml().index("      - name: rest")
]
RESPOND = delivery_yaml()[delivery_yaml().index("respond:") : delivery_yaml().index("    events:")].rstrip()
AFTER_BLOCK = delivery_yaml()[delivery_yaml().index("        parallel:\n          points:") :]
DELAY = "delay: { after: input.pause }"
PIVOT = "kind: pivot\n        wait: picked_up\n        within: 90m"
CAPTURE = "kind: retriable\n        call: payment/CapturePayment"
AFTERWARDS = "- name: afterwards\n        kind: retriable"
ADD_POINTS = "              when: has(steps.rating)\n              call: loyalty/AddPoints"
MAIL = "retry: { give_up_after: 1h }"
START = "start: { at: input.deliver_at, at_most: 14d }"
COURIER = "request: { order_id: saga.id, address: input.address }"
RATED = "rated: { rpc: delivery.v1.TabletService/RateOrder, saga_id: event.order_id, allow: caller != '' }"
PICKED_UP = "picked_up: { rpc: delivery.v1.TabletService/ReportPickup, saga_id: event.order_id, allow: true }"
CANCEL = "rpc: delivery.v1.OrderingService/CancelOrder\n      saga_id: event.order_id"
FRAUD = "when: input.total_minor > 10000"
POINTS = "points: steps.rating.stars"

Case = tuple[str, str, str, str, str, str]
"""What it is about, a text that stands there once, what stands there then, the code, its message, its hint. Several
texts are separated by `‖`."""

SHAPES: tuple[Case, ...] = (
    ("a wait that calls", ANSWER, "wait: answered\n              «call: restaurant/OpenTicket", "SG200", 'either a "wait" or a "call", not both', "make the call an element of its own"),
    ("a call that delays", COURIER, f"{COURIER}\n              «delay: {{ after: 1s }}", "SG200", 'either a "call" or a "delay"', "an element of its own"),
    ("a block that waits", "      - name: prepare\n        parallel:", "      - name: prepare\n        wait: answered\n        «parallel:", "SG200", 'either a "wait" or a "parallel"', "an element of its own"),
    ("a saga as a step", DELAY, "«saga: place_order", "SG202", "can't be a step of another saga yet", "write its steps here"),
    ("an element of no kind", f"- name: rest\n        when: has(input.pause)\n        {DELAY}", "- «name: rest", "SG013", 'the key "call" is missing', "add call: ..."),
    ("a misspelt wait, which is then taken as meant", "wait: picked_up", "«wiat: picked_up", "SG012", 'no key "wiat"', 'did you mean "wait"?'),
    ("a misspelt block, which is then taken as meant", "- name: prepare\n        parallel:", "- name: prepare\n        «paralel:", "SG012", 'no key "paralel"', 'did you mean "parallel"?'),
    ("a wait with a time-out of its own", "within: 90m", "within: 90m\n        «timeout: 5s", "SG201", 'a wait has no "timeout"', "within: 10m"),
    ("a wait that is retried", "within: 90m", "within: 90m\n        «retry: { initial: 1s }", "SG201", 'a wait has no "retry"', "a wait calls nothing"),
    ("a wait that is undone", ANSWER, f"{ANSWER}\n              «compensate: none", "SG201", 'a wait has no "compensate"', "nothing to undo"),
    ("a wait with a request", ANSWER, f"{ANSWER}\n              «request: {{ order_id: saga.id }}", "SG201", 'a wait has no "request"', "steps.<name>"),
    ("a wait over a list", ANSWER, f"{ANSWER}\n              «for_each: {{ item: d, in: input.dishes }}", "SG201", 'a wait has no "for_each"', "only calls are repeated"),
    ("a wait that is given up", "within: 3d", "within: 3d\n              «on_give_up: continue", "SG201", 'a wait has no "on_give_up"', "write on_timeout: continue"),
    ("a call that lasts", COURIER, f"{COURIER}\n              «within: 5m", "SG201", 'a call has no "within"', "timeout and retry"),
    ("a call that declines", COURIER, f"{COURIER}\n              «decline: {{ when: 'true', reason: NO }}", "SG201", 'a call has no "decline"', "call.decline"),
    ("a call that times out", COURIER, f"{COURIER}\n              «on_timeout: continue", "SG201", 'a call has no "on_timeout"', "retry"),
    ("a delay that is undone", DELAY, f"{DELAY}\n        «compensate: none", "SG201", 'a delay has no "compensate"', "nothing to undo"),
    ("a delay over a list", DELAY, f"{DELAY}\n        «for_each: {{ item: d, in: input.dishes }}", "SG201", 'a delay has no "for_each"', "only calls are repeated"),
    ("a delay within", DELAY, f"{DELAY}\n        «within: 5m", "SG201", 'a delay has no "within"', "delay: { after: 10m }"),
    ("a bound beside a delay", DELAY, f"{DELAY}\n        «at_most: 5m", "SG201", 'a delay has no "at_most"', "write it beside at"),
    ("a block that is undone", "- name: prepare\n", "- name: prepare\n        «compensate: none\n", "SG201", 'a parallel block has no "compensate"', "undoing mirrors the block"),
    ("a block with a time-out", "- name: prepare\n", "- name: prepare\n        «timeout: 5s\n", "SG201", 'a parallel block has no "timeout"', "the calls in its branches"),
    ("a block over a list", "- name: prepare\n", "- name: prepare\n        «for_each: { item: d, in: input.dishes }\n", "SG201", 'a parallel block has no "for_each"', "in its branches"),
    ("a block that is given up", AFTERWARDS, f"{AFTERWARDS}\n        «on_give_up: continue", "SG201", 'a parallel block has no "on_give_up"', "in its branches"),
    ("branches in a list", AFTER_BLOCK, "        «parallel: [points]\n", "SG014", "a mapping of keys is expected here, not a list", "write key: value"),
    ("a branch that is no list", "mail:\n            - name: pause\n              delay: { after: 1h }\n            - name: send_mail\n              call: payment/CapturePayment\n              request: { order_id: saga.id }\n              retry: { give_up_after: 1h }\n              on_give_up: continue", "«mail: { name: pause }", "SG014", "a list is expected", "after a dash"),
    ("a branch in capitals", "          courier:\n", "          «Courier:\n", "SG017", '"Courier"', "lower case"),
    ("two branches of one name", "          courier:\n", "          extra: [{ name: more, delay: { after: 1s } }]\n          «extra: [{ name: most, delay: { after: 1s } }]\n          courier:\n", "SG011", '"extra" appears twice', "remove or rename"),
    ("a key of a loop", "at_once: 5", "«at_onec: 5", "SG012", '"at_onec"', 'did you mean "at_once"?'),
    ("a loop without a list", f"{FOR_EACH}", "«for_each: { item: dish, key: dish.dish_id }", "SG013", 'the key "in" is missing', "add in: ..."),
    ("nothing at once", "at_once: 5", "at_once: «0", "SG019", "0 is out of range", "from 1 to 1000"),
    ("too many items", "at_once: 5", "max_items: «5000", "SG019", "5000 is out of range", "from 1 to 1000"),
    ("a list of conditions", FRAUD, "«when: [input.total_minor > 1]", "SG014", "when: an expression is expected here, not a list", "write one expression"),
    ("no condition", FRAUD, "when«:", "SG014", "an expression is expected here, not nothing", "write one value"),
    ("a wait of no time", "within: 90m", "within: «0s", "SG019", "longer than zero", "for example 2s"),
    ("a wait in words", "within: 90m", "within: «an hour", "SG016", '"an hour" is not a duration', "write it like"),
    ("a delay without a unit", DELAY, "delay: { after: «5 }", "SG016", '"5" is not a duration', "give it a unit: 5s"),
    ("a delay in weeks", DELAY, "delay: { after: «4w }", "SG016", '"4w" is not a duration', "write it like"),
    ("a reason in small letters", "RESTAURANT_SAID_NO", "«said_no", "SG017", '"said_no" cannot be a reason', "capital letters"),
    ("a reason in two kinds of quotes", "RESTAURANT_SILENT", "«\"'RESTAURANT_SILENT'\"", "SG017", "cannot be a reason", "without quotes inside: RESTAURANT_SILENT"),
    ("a reason of one letter", "CUSTOMER_CANCELLED", "«C", "SG017", '"C" cannot be a reason', "OUT_OF_STOCK"),
    ("a word for a time-out", SILENT, "on_timeout: «contine", "SG015", '"contine" is not allowed', "continue"),
    ("a word for giving up", "on_give_up: continue", "on_give_up: «skip", "SG015", '"skip" is not allowed', "continue"),
    ("a decline without a reason", DECLINE, '«decline: { when: "!event.accepted" }', "SG013", 'the key "reason" is missing', "add reason: ..."),
    ("an event without an id", PICKED_UP, "«picked_up: { rpc: delivery.v1.TabletService/ReportPickup, allow: true }", "SG013", 'the key "saga_id" is missing', "add saga_id: ..."),
    ("a key of an event", "respond: { body", "«repond: { body", "SG012", '"repond"', 'did you mean "respond"?'),
    ("a key of a cancel", "reason: CUSTOMER_CANCELLED", "«reasons: CUSTOMER_CANCELLED", "SG012", '"reasons"', 'did you mean "reason"?'),
)  # fmt: skip

KINDS: tuple[Case, ...] = (
    ("a pivot in a branch", COURIER, f"{COURIER}\n              kind: «pivot", "SG203", 'the pivot "assign_courier" stands in a block', "move it out of the block"),
    ("a pivot that may be skipped", PIVOT, f"{PIVOT}\n        when: «has(input.pause)", "SG203", 'the pivot "picked_up" has a condition', "remove when"),
    ("a delay as pivot", f"{DELAY}\n", f"{DELAY}\n        kind: «pivot\n", "SG203", "it decides nothing", "the call or the wait that decides"),
    ("a block as pivot", "- name: prepare\n", "- name: prepare\n        kind: «pivot\n", "SG203", 'the block "prepare" cannot be the pivot', "behind the block"),
    ("a retriable step in a compensatable block", COURIER, f"{COURIER}\n              kind: «retriable", "SG204", 'the block that it stands in is compensatable', "say kind: retriable at the block"),
    ("a compensatable step in a retriable block", "wait: rated", "wait: rated\n              kind: «compensatable", "SG204", 'the block that it stands in is retriable', "remove kind here"),
    ("a block without branches", "        parallel:\n          restaurant:‖- name: prepare", "        parallel: {}\n      - name: other\n        parallel:\n          restaurant:‖- name: «prepare", "SG205", 'the block "prepare" has no branches', "add a branch"),
    ("a loop whose name is taken", LOOP, LOOP.replace("item: dish", "item: «event").replace(" dish.", " event."), "SG131", '"event" means something else', "choose another name"),
    ("a compensatable step that is given up", COURIER, f"{COURIER}\n              on_give_up: «continue", "SG207", "is compensatable, and cannot be given up", "make the step retriable"),
    ("a key that is the same for all", "key: dish.dish_id", "key: «input.address", "SG208", 'it does not read "dish"', "dish.id"),
    ("a compensatable wait behind the pivot", CAPTURE, f"{CAPTURE}\n        request: {{ order_id: saga.id }}\n      - name: «late\n        wait: rated\n      - name: more\n        {CAPTURE}", "SG071", 'step "late" is compensatable, but comes after the pivot', "set kind: retriable"),
    ("a compensatable block behind the pivot", AFTERWARDS, "- name: «afterwards", "SG204", 'the block "afterwards" comes after the pivot, and does not say', "say kind: retriable"),
    ("a retriable delay before the pivot", DELAY, "kind: «retriable\n        delay: { after: 1m }", "SG072", 'step "rest" is retriable, but is before the pivot', "move it after the pivot"),
    ("two elements of one name", "- name: pause", "- name: «capture", "SG061", 'already a step "capture"', "rename one of the two"),
    ("a wait named like a moment", "- name: rest", "- name: «acceptance", "SG062", 'cannot be named "acceptance"', "choose another name"),
    ("a branch step without an undo", "compensate: { call: courier/UnassignCourier, request: { order_id: saga.id } }‖- name: assign_courier", "‖- name: «assign_courier", "SG067", "does not say how it is compensated", "compensate: none"),
    ("a retriable call that is undone", CAPTURE, f"{CAPTURE}\n        compensate: {{ call: «payment/VoidPayment, request: {{ order_id: saga.id }} }}", "SG068", "a retriable step is never compensated", "remove compensate"),
)  # fmt: skip

TIMES: tuple[Case, ...] = (
    ("a wait longer than the deadline", "within: 10m", "within: «3h", "SG213", '"answer" may last until 3h after the start', "extend the deadline beyond 3h"),
    ("waits that together are longer", "within: 90m", "within: «110m", "SG213", "with the waits and delays before it, but the saga's deadline is 2h", "extend the deadline beyond 2h"),
    ("a fixed delay longer than the deadline", DELAY, "delay: { after: «1d }", "SG213", '"rest" may last until 1d10m', "extend the deadline"),
    ("a retriable wait without an end", "within: 3d\n              on_timeout: continue‖- name: rating", "on_timeout: continue‖- name: «rating", "SG224", "after the pivot no deadline ends it", "within: 24h"),
    ("a retriable wait that declines", "within: 3d", "within: 3d\n              decline: { when: event.stars < 0, reason: «BAD_RATING }", "SG225", 'the wait "rating" comes after the pivot', "remove decline"),
    ("a retriable wait that turns back", "on_timeout: continue", "on_timeout: { decline: «NOT_RATED }", "SG225", "nothing turns the saga back", "say on_timeout: continue"),
    ("a pivot that goes on", PIVOT, f"{PIVOT}\n        on_timeout: «continue", "SG226", 'the pivot "picked_up" goes on when nothing has come', "remove on_timeout"),
    ("a delay of neither", f"{DELAY}‖- name: rest", "delay: {}‖- name: «rest", "SG210", "delay says neither after nor at", "add after"),
    ("a delay of both", DELAY, "delay: { after: 5m, at: «input.deliver_at }", "SG210", "delay has both after and at", "keep one of the two"),
    ("a bound of what is fixed", DELAY, "delay: { after: 5m, at_most: «10m }", "SG211", "at_most has no effect: after is always 5m", "remove at_most"),
    ("an unbounded delay behind the pivot", "- name: pause\n              delay: { after: 1h }", "- name: «pause\n              delay: { at: input.deliver_at }", "SG212", 'the delay "pause" has no bound', "at_most: 14d"),
    ("a start of both", START, "start: { after: 5m, at: «input.deliver_at }", "SG210", "start has both after and at", "keep one of the two"),
    ("a start of neither", f"{START}‖  place_order:", "start: {}‖  «place_order:", "SG210", "start says neither after nor at", "add after"),
    ("a late start that is awaited", RESPOND, "respond: { after: «open_ticket }", "SG214", 'is answered after "open_ticket"', "after: acceptance, status: 202"),
    ("a service that forgets before a long wait", "implements: [delivery.v1.LoyaltyService] }", "implements: [delivery.v1.LoyaltyService], retention: «4d }", "SG077", "saga \"place_order\" may need them for 5d2h", "retention to more than 5d2h"),
)  # fmt: skip

EVENTS: tuple[Case, ...] = (
    ("a wait for nothing", ANSWER, "wait: «anserd\n              within: 10m", "SG220", '"answer" waits for "anserd", which is not an event', 'did you mean "answered"'),
    ("an event that nothing awaits", "      rated: {", "      «extra: { rpc: delivery.v1.TabletService/Unrouted, saga_id: event.order_id, allow: true }\n      rated: {", "SG221", 'nothing waits for the event "extra"', "add a step with wait: extra"),
    ("an event that starts the saga", f"{RATED}‖{POINTS}", RATED.replace("delivery.v1.TabletService/RateOrder, saga_id: event.order_id", "«delivery.v1.OrderingService/PlaceOrder, saga_id: event.address") + "‖points: 5", "SG222", 'starts the saga "place_order"', "an rpc of its own"),
    ("two events of one rpc", f"{RATED}‖{POINTS}", RATED.replace("delivery.v1.TabletService/RateOrder", "«delivery.v1.TabletService/ReportPickup") + "‖points: 5", "SG222", 'already the event "picked_up"', "an rpc of its own"),
    ("a cancel that is an event", f"{CANCEL}‖event.why != ''", CANCEL.replace("delivery.v1.OrderingService/CancelOrder", "«delivery.v1.TabletService/AnswerTicket") + "‖event.accepted", "SG222", 'already the event "answered"', "an rpc of its own"),
    ("an event that a service implements", f"{RATED}‖{POINTS}", RATED.replace("delivery.v1.TabletService/RateOrder", "«delivery.v1.PaymentService/VoidPayment") + "‖points: 5", "SG031", 'cannot be the event "rated"', "that no service implements"),
    ("an event that streams", RATED, RATED.replace("delivery.v1.TabletService/RateOrder", "«delivery.v1.TabletService/Watch"), "SG033", "an event is one request", "name a unary rpc"),
    ("an event that reads", f"{RATED}‖{POINTS}", RATED.replace("delivery.v1.TabletService/RateOrder", "«delivery.v1.TabletService/Look") + "‖points: 5", "SG034", "what comes to a saga has effects", "idempotency_level"),
    ("an event of no proto", RATED, RATED.replace("delivery.v1.TabletService/RateOrder", "«delivery.v1.TabletService/RateOrdr"), "SG030", "no proto declares an rpc", "TabletService/RateOrder"),
    ("an event without its service", RATED, RATED.replace("delivery.v1.TabletService/RateOrder", "«RateOrder"), "SG063", "package.Service/Method", "OrderingService/PlaceOrder"),
    ("a cancel of no proto", CANCEL, CANCEL.replace("delivery.v1.OrderingService/CancelOrder", "«delivery.v1.OrderingService/Cancel"), "SG030", "no proto declares an rpc", "CancelOrder"),
    ("an event named like the cancel", "answered:\n        rpc‖wait: answered", "«cancel:\n        rpc‖wait: cancel", "SG062", 'an event cannot be named "cancel"', "another name"),
)  # fmt: skip

READING: tuple[Case, ...] = (
    ("a step that may be skipped", "has(steps.check_fraud) ? int(steps.check_fraud.score) : input.total_minor", "steps.«check_fraud.score", "SG127", "", "has(steps.check_fraud)"),
    ("a step of another branch", COURIER, "request: { order_id: saga.id, address: steps.«open_ticket.ticket_id }", "SG104", "it is in another branch", "readable here"),
    ("a wait of another branch", COURIER, "request: { order_id: saga.id, address: string(steps.«answer.minutes) }", "SG104", "it is in another branch", "readable here"),
    ("a later step", "when: has(input.pause)", "when: has(steps.«capture)", "SG104", "it runs later", "readable here"),
    ("its own response in its condition", FRAUD, "when: has(steps.«check_fraud)", "SG104", "its condition comes before its response", ""),
    ("a block", "order_id: steps.picked_up.order_id", "order_id: steps.«prepare.id", "SG104", "it is a block, which has no response", "readable here"),
    ("the list of a loop with gaps", f"{FOR_EACH}‖size(steps.reserve)", f"{FOR_EACH}\n        when: dish.quantity > 0‖size(steps.«reserve)", "SG104", "the list would have gaps", "readable here"),
    ("a step of a block that may be skipped", "- name: prepare\n‖steps.answer.minutes‖steps.assign_courier.courier_id", "- name: prepare\n        when: input.total_minor > 0\n‖5‖steps.«assign_courier.courier_id", "SG127", 'the block "prepare" is skipped unless', "has(steps.assign_courier)"),
    ("a delay", "order_id: steps.picked_up.order_id", "order_id: steps.«rest.id", "SG104", "it is a delay, which has no response", "readable here"),
    ("a wait that may time out", f"{ADD_POINTS}\n              request: {{ customer_id: caller, {POINTS} }}", f"{ADD_POINTS.replace('              when: has(steps.rating)' + chr(10), '')}\n              request: {{ customer_id: caller, points: steps.«rating.stars }}", "SG127", "", "has(steps.rating)"),
    ("a step that may be skipped, in the answer", "has(steps.add_points) ? steps.add_points.total : 0", "steps.«add_points.total", "SG127", "", "has(steps.add_points)"),
    ("a loop as one response", "size(steps.reserve)", "steps.reserve.«names", "SG125", "", ""),
    ("steps in a decline", "!event.accepted", "steps.«open_ticket.ticket_id == ''", "SG104", "an event may come before it is done", ""),
    ("the input where no saga is found yet", PICKED_UP, PICKED_UP.replace("event.order_id", "«input.address"), "SG126", '"input" cannot be read here: the saga is found by this expression', "event"),
    ("who calls, before the start", START, "start: { at: «caller }", "SG126", "known from its input alone", ""),
    ("a start that is no time", START, "start: { at: «input.address }", "SG105", "google.protobuf.Timestamp", ""),
    ("a delay that is no duration", DELAY, "delay: { after: «input.total_minor }", "SG105", "google.protobuf.Duration", ""),
    ("a condition that is a number", FRAUD, "when: «input.total_minor", "SG105", "a condition is a bool", "compare it"),
    ("an id that is a number", PICKED_UP, PICKED_UP.replace("event.order_id", "«5"), "SG105", "this is a string", ""),
    ("a loop over a text", FOR_EACH, FOR_EACH.replace("in: input.dishes, key: dish.dish_id", "in: «input.address"), "SG105", "a loop runs over a list", ""),
    ("a key that is a number with a point", "key: dish.dish_id", "key: «dish.price", "SG105", "a key is a string, an integer or an enum", ""),
    ("an index of a secret", "customer: caller,", "customer: «input.email,", "SG128", "email", "index another field"),
    ("an index of a list", "customer: caller,", "customer: «input.notes,", "SG105", "an index holds", ""),
    ("an item outside of its loop", "order_id: steps.picked_up.order_id", "order_id: «dish.dish_id", "SG101", 'no "dish"', ""),
    ("an unknown field of an event", "!event.accepted", "!event.«acepted", "SG102", '"acepted"', 'did you mean "accepted"?'),
    ("an event where there is none", "address: input.address }\n              compensate: { call: courier", "address: «event.order_id }\n              compensate: { call: courier", "SG101", 'no "event"', ""),
)  # fmt: skip

MISTAKES = (*SHAPES, *KINDS, *TIMES, *EVENTS, *READING)


def test_without_a_mistake_nothing_is_reported() -> None:
    mesh, found = resolve_delivery(delivery_yaml())
    assert found == ()
    assert mesh is not None


@pytest.mark.parametrize("case", MISTAKES, ids=[case[0] for case in MISTAKES])
def test_a_planted_mistake_is_reported_at_its_place_and_nothing_else_is(case: Case) -> None:
    _, old, new, code, message, hint = case
    text = edited(delivery_yaml(), tuple(zip(old.split("‖"), new.split("‖"), strict=True)))
    mesh, found = resolve_delivery(text)
    assert brief(found) == [(place(text), code)], found
    assert message in found[0].message
    assert hint in found[0].hint
    assert found[0].hint
    assert mesh is None


def test_there_are_many() -> None:
    assert len(MISTAKES) >= 60
