"""The views *Definition*, *Versions*, *Services* and *Audit*."""

import re
from dataclasses import replace
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import pytest
from big_log import CHARGE, CONFIRM, CREATE, RESERVE
from console_client import console, words_of
from console_on_a_log import DELIVER, EVIL, console_on_a_log
from small_mesh import step

from generated.sagas.place_order_v1 import PLACE_ORDER_V1
from sagagen.runtime.console.definition_graph import Graph, duration, graph_of, percent
from sagagen.runtime.console.failure_rows import failure_rows
from sagagen.runtime.model.definition import Delay, Element, Parallel, Saga, Step, Wait, leaves
from sagagen.runtime.saga.view import StepStatus

GRAPHS = {"a line": PLACE_ORDER_V1, "branches, a loop and waits": DELIVER}


@pytest.mark.parametrize("saga", GRAPHS.values(), ids=[*GRAPHS])
def test_every_element_and_compensation_has_a_box_and_none_lie_on_each_other(saga: Saga) -> None:
    graph = graph_of(saga, None, {}, "POST /orders")
    names = [box.name for box in graph.boxes]
    for element in leaves(saga.steps):
        assert names.count(element.name) == 1
        if isinstance(element, Step) and element.compensation:
            assert names.count(f"undo {element.name}") == 1
    boxes = [box for box in graph.boxes if box.kind != "branch"]
    for number, one in enumerate(boxes):
        assert one.x >= 0
        assert one.x + one.w <= graph.width
        assert one.y + one.h <= graph.height
        for other in boxes[number + 1 :]:
            is_beside = one.x + one.w <= other.x or other.x + other.w <= one.x
            assert is_beside or one.y + one.h <= other.y or other.y + other.h <= one.y, (one, other)
    assert len(graph.frames) == sum(isinstance(element, Parallel) for element in saga.steps)


def test_long_names_and_branches_in_branches_stay_in_the_picture() -> None:
    inner = cast(Parallel, DELIVER.steps[1])
    nested = replace(
        inner, branches=(replace(inner.branches[0], steps=(inner, step("s" * 60))), inner.branches[1])
    )
    graph = graph_of(replace(DELIVER, steps=(nested,)), None, {}, "x" * 90)
    assert all(len(box.name) <= 28 for box in graph.boxes)
    outer, *others = graph.frames
    assert len(others) == 1
    assert outer.x <= others[0].x
    assert others[0].x + others[0].w <= outer.x + outer.w


def test_the_way_of_a_saga_is_lit_as_far_as_it_came() -> None:
    lit = {CREATE: StepStatus.COMPENSATED, RESERVE: StepStatus.REFUSED, CHARGE: StepStatus.NOT_CALLED}
    graph = graph_of(PLACE_ORDER_V1, None, lit, "POST /orders")
    assert _tone(graph, CREATE) == "good"
    assert _tone(graph, f"undo {CREATE}") == "back"
    assert _tone(graph, RESERVE) == "bad"
    assert _tone(graph, CHARGE) == _tone(graph, CONFIRM) == _tone(graph, "completed") == ""
    assert sum(line.is_lit for line in graph.lines if line.kind == "down") == 2
    whole = {element.name: StepStatus.DONE for element in leaves(PLACE_ORDER_V1.steps)}
    assert _tone(graph_of(PLACE_ORDER_V1, None, whole, ""), "completed") == "good"


def test_what_is_stuck_after_a_saga_turned_back_is_its_undoing() -> None:
    back = {CREATE: StepStatus.STUCK, RESERVE: StepStatus.REFUSED, CHARGE: StepStatus.NOT_CALLED}
    graph = graph_of(PLACE_ORDER_V1, None, back, "POST /orders")
    assert (_tone(graph, CREATE), _tone(graph, f"undo {CREATE}")) == ("back", "bad")
    forward = {CREATE: StepStatus.STUCK, RESERVE: StepStatus.PENDING, CHARGE: StepStatus.PENDING}
    graph = graph_of(PLACE_ORDER_V1, None, forward, "POST /orders")
    assert (_tone(graph, CREATE), _tone(graph, f"undo {CREATE}")) == ("bad", "")


def _tone(graph: Graph, name: str) -> str:
    return next(box.tone for box in graph.boxes if box.name == name)


def test_a_failing_step_undoes_what_the_engine_would_undo() -> None:
    rows = {(row.step, row.how): row for row in failure_rows(PLACE_ORDER_V1)}
    assert rows[CHARGE, "the service declines"].undone == (RESERVE, CREATE)
    assert rows[CHARGE, "it keeps failing: the outcome is unknown"].undone == (CHARGE, RESERVE, CREATE)
    pivot = rows[CONFIRM, "it was attempted, and keeps failing"]
    assert (pivot.undone, pivot.status, pivot.note) == ((), "STUCK", "after 1 d: it waits for an operator")
    tree = {row.step: row for row in failure_rows(DELIVER)}
    assert tree["courier_there"].undone == ("find_courier", "create_order")
    assert tree["courier_there"].beside
    assert tree["pay"].status == "STUCK"
    assert next(row for row in failure_rows(DELIVER) if row.step == "pay").undone == (
        "find_courier",
        "cook",
        "create_order",
    )


@pytest.mark.parametrize(
    ("rate", "text"), [(1.0, "100%"), (0.999, "99.9%"), (0.5, "50%"), (0.032, "3.2%"), (0.00001, "0.1%")]
)
def test_a_rate_is_never_rounded_to_none_or_all(rate: float, text: str) -> None:
    assert percent(rate) == text


def test_durations_have_the_unit_that_fits() -> None:
    assert [duration(seconds) for seconds in (0.05, 2, 90, 3600, 7200, 86400)] == [
        "0.05 s",
        "2 s",
        "90 s",
        "1 h",
        "2 h",
        "1 d",
    ]


async def test_the_definition_has_a_picture_a_table_and_what_happens_if_a_step_fails(tmp_path: Path) -> None:
    async with console_on_a_log(tmp_path) as client:
        page = (await client.get("/console/definition")).text
        words = words_of(page)
        assert "newest 70 ended and 30 open sagas" in words
        assert "60 done · p99 40 ms · 33% fail" in words
        assert "10 stuck" in words
        assert "sagagen sagas steps place_order --version 1" in words
        (picture,) = re.findall(r"<svg class=\"graph\".*?</svg>", page, re.DOTALL)
        assert ElementTree.fromstring(picture).tag == "svg", "well-formed"
        assert "style=" not in page
        assert "<script>" not in page

        lit = words_of((await client.get(f"/console/definition?saga={10:032x}")).text)
        assert f"The way of saga {10:032x}" in lit.replace(" : ", ": ")
        assert "(this saga's)" in lit
        other = words_of((await client.get("/console/definition?name=deliver")).text)
        assert "waits for arrived" in other
        missed = await client.get("/console/definition?name=delivr")
        assert missed.status_code == 400
        assert "there are: place_order, deliver" in words_of(missed.text)


async def test_versions_say_which_sagas_wait_for_one_that_is_not_deployed(tmp_path: Path) -> None:
    newer = replace(PLACE_ORDER_V1, version=2, digest="other")
    async with console_on_a_log(tmp_path, kept=(newer,)) as client:
        words = words_of((await client.get("/console/versions")).text)
    assert "30 sagas wait for place_order version 1" in words
    assert "deploy code that keeps version 1" in words
    changed = replace(PLACE_ORDER_V1, digest="other")
    async with console_on_a_log(tmp_path / "again", kept=(changed,)) as client:
        words = words_of((await client.get("/console/versions")).text)
    assert "another definition of version 1: restore that one" in words


async def test_versions_that_no_saga_needs_can_go(tmp_path: Path) -> None:
    newer = replace(PLACE_ORDER_V1, version=2)
    async with console_on_a_log(
        tmp_path, kept=(PLACE_ORDER_V1, newer, DELIVER, replace(DELIVER, version=2))
    ) as client:
        words = words_of((await client.get("/console/versions")).text)
    assert "must stay: open sagas run on it" in words
    assert "can go: no open saga runs on it" in words
    assert "wait for" not in words


async def test_services_say_where_they_are_whether_they_serve_and_what_fails(tmp_path: Path) -> None:
    async with console_on_a_log(tmp_path) as client:
        words = words_of((await client.get("/console/services")).text)
    assert "order ✓ serves 10.1.0.4:9001 (3 under way)" in words
    assert "10.1.0.5:9001 ◷ rests: it did not answer well" in words
    assert "payment ✕ does not serve connection refused At payment:9003" in words
    assert "ReserveStock write, local transaction" in words
    assert "curl http://localhost:8081/readyz" in words


async def test_the_audit_is_filtered_escaped_and_shows_what_waits_for_a_second_person(tmp_path: Path) -> None:
    async with console_on_a_log(tmp_path) as client:
        page = (await client.get("/console/audit")).text
        assert EVIL not in page
        assert "payment is back" in page
        refused = words_of((await client.get("/console/audit?only=refused")).text)
        assert "payment is back" not in refused
        assert "nobody known" in refused
        assert "12 times" in refused
        of_ann = words_of((await client.get("/console/audit?by=ann&since=7d")).text)
        assert "payment is back" in of_ann
        assert "no token" not in of_ann
        assert "sagagen sagas audit --by ann --since 7d" in of_ann
        none = words_of((await client.get("/console/audit?by=nobody")).text)
        assert "No entry matches." in none
        few = (await client.get("/console/audit?limit=2")).text
        assert "Show more" in few
        for bad in ("limit=0", "limit=x", "since=1y"):
            assert (await client.get(f"/console/audit?{bad}")).status_code == 400


async def test_orders_under_four_eyes_stand_above_the_audit(tmp_path: Path) -> None:
    async with console(tmp_path, key="key-of-ann") as opened:
        given = {"step": CONFIRM, "as": "done", "note": "seen in the ledger"}
        headers = {"x-api-key": "key-of-ann"}
        answer = await opened.client.post("/sagas/saga-0/resolve", json=given, headers=headers)
        assert answer.status_code == 202
        words = words_of(await opened.page("/audit"))
        assert "Waiting for a second person" in words
        assert "seen in the ledger" in words
    async with console(tmp_path / "viewer", key="key-of-viv") as opened:
        for path in ("/definition", "/versions", "/services", "/audit"):
            page = await opened.page(path)
            main = page[page.index("<main") :]
            assert 'method="post"' not in main, "a viewer sees no order"


def test_what_a_graph_is_made_of_is_all_that_there_is() -> None:
    """A new kind of element needs a box."""
    assert set(Element.__args__) == {Step, Wait, Delay, Parallel}
