"""How a report shows a tree: the table of a pull request, and where an element stands for programs."""

import io
import json
from dataclasses import replace

from test_diff_elements import (
    MESH,
    NAMED,
    A,
    block,
    cancel,
    compared,
    delay,
    index,
    look,
    loop,
    mesh,
    saga,
    says,
    wait,
)

from sagagen.cli.diff_report import DiffFormat, Report, print_report
from sagagen.cli.diff_table import table
from sagagen.contract.model import Saga, Start

TREE = saga(
    A,
    replace(
        block(
            "p", x=[look("b"), wait("w", on_timeout=None)], y=[loop("l"), replace(look("g"), gives_up=True)]
        ),
        when=says("x"),
    ),
    delay("d", after_s=9.0),
    delay("e", at=says("input.x")),
    events=NAMED,
    cancel=cancel(),
    start=Start(A.span, at=says("input.at"), at_most_s=60.0),
    index=(index("total", "x"),),
)


def shown(old: Saga, new: Saga, output_format: DiffFormat) -> str:
    stream = io.StringIO()
    print_report(Report("main", mesh(old), mesh(new), compared(old, new), None), stream, output_format)
    return stream.getvalue()


def test_a_table_shows_what_is_in_branches_below_their_block() -> None:
    assert table(TREE)[2:] == [
        "| 1 | create_order | `order/CreateOrder` | `order/CancelOrder` | 2s | until the deadline, 50ms to 2s |",
        "| 2 | a | `inventory/ReserveStock` | `inventory/ReleaseStock` | 2s | until the deadline, 50ms to 2s |",
        "| 3 | p, `when` | branches side by side | - | - | - |",
        "| 3.x.1 | b | `inventory/ReserveStock` | - | 2s | until the deadline, 50ms to 2s |",
        "| 3.x.2 | w | waits for `answered` | - | 10m, then goes on | - |",
        "| 3.y.1 | l | `inventory/ReserveStock` for each `i`, 10 at once, up to 100 | `inventory/ReleaseStock` | 2s "
        "| until the deadline, 50ms to 2s |",
        "| 3.y.2 | g | `inventory/ReserveStock` | - | 2s | until the deadline, 50ms to 2s, then left as it is |",
        "| 4 | d | lets 9s pass | - | - | - |",
        "| 5 | e | lets time pass, until `at` | - | - | - |",
        "| 6 | confirm_order (pivot) | `order/ConfirmOrder` | - | 2s | for 1d, 50ms to 2s |",
        "",
        "- event `answered`: `shop.inventory.v1.InventoryService.GetStock`",
        "- event `other`: `shop.order.v1.OrderService.GetOrder`",
        "- cancel: `shop.inventory.v1.InventoryService.GetStock`, `CANCELLED`",
        "- starts later, up to 1m",
        "- says whose data it holds",
        "- index: `total`",
    ]


def test_a_line_is_shown_as_before() -> None:
    assert len(table(replace(MESH.sagas[0], subject=None))) == 2 + len(MESH.sagas[0].steps)


def test_a_pull_request_shows_the_tree_before_and_after() -> None:
    new = saga(block("p", x=[A], y=[look("b")]))
    before, after = shown(saga(A, look("b")), new, "markdown").split("after (version 1):")
    assert "| 2 | a |" in before
    assert "| 2.x.1 | a |" in after


def test_a_wait_that_is_over_sooner_is_shown_too() -> None:
    assert "| 1m, then `WAIT_TIMED_OUT` |" in shown(
        saga(wait("w")), saga(wait("w", within_s=60.0)), "markdown"
    )


def test_programs_read_where_an_element_stands() -> None:
    new = saga(block("p", x=[block("q", z=[replace(A, when=says("x"))])], y=[look("b")]))
    old = saga(block("p", x=[block("q", z=[A])], y=[look("b"), look("c")]))
    rows = json.loads(shown(old, new, "json"))
    assert {row["subject"]: row["inside"] for row in rows} == {
        "place_order/a": ["p/x", "q/z"],
        "place_order/c": ["p/y"],
    }


def test_what_is_at_top_level_is_inside_nothing() -> None:
    rows = json.loads(shown(saga(A), saga(replace(A, when=says("x")), cancel=cancel()), "json"))
    assert {row["subject"]: row["inside"] for row in rows} == {"place_order/a": [], "place_order/cancel": []}
