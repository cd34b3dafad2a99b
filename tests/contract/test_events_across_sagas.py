"""Events of several sagas, and of older versions that are kept: their rpcs, their routes, and what is noted."""

import textwrap
from dataclasses import replace

from contract_bench import brief, delivery, delivery_yaml, edited, place, resolve_delivery

from sagagen.contract import Mesh, resolve
from sagagen.diagnostics import Diagnostic, Severity

KEPT = "contracts/sagas/place_order.v1.yaml"
RATED = "      rated: { rpc: delivery.v1.TabletService/RateOrder, saga_id: event.order_id, allow: caller != '' }\n"
RATING = (
    "            - name: rating\n"
    "              wait: rated\n"
    "              within: 3d\n"
    "              on_timeout: continue\n"
)
ASKS = "              when: has(steps.rating)\n"
SECOND = """
  refund:
    trigger: delivery.v1.TabletService/Unrouted
    respond: {{ after: acceptance, status: 202 }}
    deadline: 2h
    events:
      {event}: {{ rpc: delivery.v1.TabletService/RateOrder, saga_id: {saga_id}, allow: true }}
    steps:
      - {{ name: wait_for_it, wait: {event}, within: 1h }}
"""


def newer() -> str:
    return edited(delivery_yaml(), (("    deadline: 2h\n", "    version: 2\n    deadline: 2h\n"),))


def older(*edits: tuple[str, str]) -> str:
    text = edited(delivery_yaml(), edits)
    return textwrap.dedent(text[text.index("    trigger:") :])


def resolved(text: str, kept: str) -> tuple[Mesh | None, tuple[Diagnostic, ...]]:
    sources = replace(delivery(), saga_yaml=text.replace("«", ""), kept={KEPT: kept.replace("«", "")})
    return resolve(sources)


def events(mesh: Mesh | None) -> dict[str, str]:
    assert mesh is not None
    return {route.template: f"{route.target.name}.{route.event}" for route in mesh.routes if route.event}


def test_versions_share_the_rpcs_of_their_events() -> None:
    mesh, found = resolved(newer(), older())
    assert found == ()
    assert events(mesh) == {
        "/orders/{order_id}/cancel": "place_order.cancel",
        "/tickets/{order_id}/answer": "place_order.answered",
        "/orders/{order_id}/pickup": "place_order.picked_up",
        "/orders/{order_id}/rating": "place_order.rated",
    }


def test_an_event_that_only_an_older_version_has_keeps_its_route() -> None:
    text = edited(newer(), ((RATED, ""), (RATING, ""), (ASKS, ""), ("steps.rating.stars", "5")))
    mesh, found = resolved(text, older())
    assert found == ()
    assert mesh is not None
    assert events(mesh)["/orders/{order_id}/rating"] == "place_order.rated"
    target = next(route.target for route in mesh.routes if route.event == "rated")
    assert target is mesh.kept[0]


def test_versions_find_their_instances_in_the_same_way() -> None:
    kept = older(("ReportPickup, saga_id: event.order_id", "ReportPickup, saga_id: saga.id"))
    kept = kept.replace("saga_id: saga.id", "saga_id: event.order_id + ''").replace(
        "rpc: delivery.v1.TabletService/ReportPickup", "rpc: «delivery.v1.TabletService/ReportPickup"
    )
    mesh, found = resolved(newer(), kept)
    assert brief(found) == [(place(kept, KEPT), "SG222")]
    assert "whose saga_id is another expression" in found[0].message
    assert mesh is None


def test_an_older_version_must_wait_for_what_it_declares() -> None:
    kept = older((RATING, ""), (ASKS, ""), ("steps.rating.stars", "5"), ("      rated:", "      «rated:"))
    mesh, found = resolved(newer(), kept)
    assert brief(found) == [(place(kept, KEPT), "SG221")]
    assert mesh is None


def test_sagas_share_an_rpc_if_every_call_of_it_means_the_same() -> None:
    mesh, found = resolve_delivery(delivery_yaml() + SECOND.format(event="rated", saga_id="event.order_id"))
    assert [(each.code, each.severity) for each in found] == [("SG035", Severity.WARNING)]  # its own trigger
    assert events(mesh)["/orders/{order_id}/rating"] == "place_order.rated"


def test_sagas_do_not_share_an_rpc_under_two_names_or_ids() -> None:
    for event, saga_id in (("stars", "event.order_id"), ("rated", "string(event.stars)")):
        text = delivery_yaml() + SECOND.format(event=event, saga_id=saga_id).replace("rpc: d", "rpc: «d")
        _, found = resolve_delivery(text)
        assert brief(found) == [(place(text), "SG222")]


def test_an_event_that_anybody_may_send_is_a_note() -> None:
    text = edited(
        delivery_yaml(), ((RATED, RATED.replace("rated:", "«rated:").replace(", allow: caller != ''", "")),)
    )
    mesh, found = resolve_delivery(text)
    assert brief(found) == [(place(text), "SG223")]
    assert found[0].severity is Severity.NOTE
    assert mesh is not None
    assert mesh.sagas[0].events[2].allow is None


def test_branches_that_write_through_one_service_are_a_note() -> None:
    text = edited(
        delivery_yaml(),
        (
            ("call: courier/AssignCourier", "call: «restaurant/OpenTicket"),
            ("call: courier/UnassignCourier", "call: restaurant/WithdrawTicket"),
            (", address: input.address", ""),
            ("steps.assign_courier.courier_id", "steps.assign_courier.ticket_id"),
        ),
    )
    mesh, found = resolve_delivery(text)
    assert brief(found) == [(place(text), "SG206")]
    assert found[0].severity is Severity.NOTE
    assert (
        'the branches "restaurant" and "courier" of "prepare" write through "restaurant"' in found[0].message
    )
    assert mesh is not None


def test_an_event_without_a_route_can_only_be_sent_by_operators() -> None:
    text = edited(
        delivery_yaml(),
        (
            (
                RATED,
                RATED.replace("delivery.v1.TabletService/RateOrder", "«delivery.v1.TabletService/Unrouted"),
            ),
            ("steps.rating.stars", "5"),
        ),
    )
    mesh, found = resolve_delivery(text)
    assert (place(text), "SG035") in brief(found)
    assert {each.code for each in found} == {"SG035", "SG050"}  # nothing answers the route of the other rpc
    assert all(each.severity is Severity.WARNING for each in found)
    assert mesh is not None


def test_a_route_with_a_body_limit_may_bring_an_event() -> None:
    limits = "project: delivery\nlimits: { body: { delivery.v1.TabletService/AnswerTicket: 1KiB } }"
    mesh, found = resolve_delivery(edited(delivery_yaml(), (("project: delivery", limits),)))
    assert found == ()
    assert mesh is not None
    assert [route.max_body_bytes for route in mesh.routes if route.event == "answered"] == [1024]
