"""What was approved is kept in a text file that a person reads."""

from pathlib import Path

import pytest

from sagagen.testing.matrix.snapshots import (
    Ending,
    Snapshot,
    SnapshotError,
    parsed,
    path_of,
    read,
    rendered,
    unlike,
    write,
)
from sagagen.testing.tables import Column

UNDONE = Ending("COMPENSATED", ("pay.payments + order_id=<saga> status=VOIDED", "pay.journal + what=void"))
BROUGHT = Ending(
    "COMPLETED", ("pay.payments + order_id=<saga> status=CAPTURED",), ("undoing it changes no table",)
)
SNAPSHOT = Snapshot(
    {
        "straight": BROUGHT,
        "authorise/declined:NO_MONEY": Ending("COMPENSATED"),
        "reserve[a: b]/answers-lost": UNDONE,
        "reserve[a: b]/keeps-failing": UNDONE,
        "authorise/answer-lost": BROUGHT,
        "check/declined@large": Ending("COMPENSATED"),
    },
    frozenset({Column("pay", "payments", "payment_id")}),
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "place_order", SNAPSHOT)
    assert path == path_of(tmp_path, "place_order")
    assert read(tmp_path, "place_order") == SNAPSHOT


def test_rows_that_end_alike_stand_together() -> None:
    assert (
        "COMPENSATED\n"
        "when reserve[a: b]: answers-lost, keeps-failing\n"
        "left pay.payments + order_id=<saga> status=VOIDED\n"
        "left pay.journal + what=void\n"
    ) in rendered("place_order", SNAPSHOT)
    assert (
        "COMPENSATED\nwhen authorise: declined:NO_MONEY\nwhen check: declined@large\nleft nothing\n"
        in rendered("place_order", SNAPSHOT)
    )


def test_nothing_is_approved_where_there_is_no_file(tmp_path: Path) -> None:
    assert read(tmp_path, "place_order") is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("COMPLETED\nwhen straight\nleft nothing\n", 2),
        ("volatile payments\n", 1),
        ("COMPLETED\nwhen the saga: straight\n<<<<<<< HEAD\n", 3),
    ],
)
def test_a_line_that_is_none_is_named(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"line {line}:"):
        parsed(text)
    path = path_of(tmp_path, "s")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(SnapshotError, match=rf"tests/snapshots/s.txt: line {line}:"):
        read(tmp_path, "s")


def test_the_difference_says_what_was_approved_and_what_is_found() -> None:
    found = Ending(
        "COMPENSATED", ("pay.payments + order_id=<saga> status=AUTHORISED", "pay.journal + what=void")
    )
    lines = unlike(UNDONE, found)
    assert lines == [
        "- left pay.payments + order_id=<saga> status=VOIDED",
        "+ left pay.payments + order_id=<saga> status=AUTHORISED",
    ]
