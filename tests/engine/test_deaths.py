"""Who is set aside after deaths of the process: as a table, and as a property of any sequence of runs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagagen.runtime.engine.deaths import SET_ASIDE_AT, Count, Deaths, Record

ONE, TWO, THREE = Count(1, 5), Count(2, 5), Count(3, 5)


@pytest.mark.parametrize(
    ("left", "rows", "then"),
    [
        (Record(), {}, {}),
        (Record(), {"a": 5}, {"a": ONE}),
        (Record({"a": ONE}), {"a": 5}, {"a": TWO}),
        # An answer since then: another call, or another attempt that the process survived.
        (Record({"a": TWO}), {"a": 6}, {"a": Count(1, 6)}),
        # It has ended.
        (Record({"a": TWO, "b": ONE}), {"b": 5}, {"b": TWO}),
        # The others did not run.
        (Record({"a": TWO, "b": TWO}, "a"), {"a": 5, "b": 5, "c": 5}, {"a": THREE, "b": TWO}),
        # The one on trial had its answer before the process died.
        (Record({"a": TWO, "b": TWO}, "a"), {"a": 6, "b": 5}, {"a": Count(1, 6), "b": TWO}),
    ],
)
def test_a_death_is_charged_to_whoever_was_under_way(
    left: Record, rows: dict[str, int], then: dict[str, Count]
) -> None:
    assert left.after_death(rows) == Record(then)


@pytest.mark.parametrize(
    ("counts", "died_on_trial", "aside", "tried"),
    [
        ({"a": ONE}, "", "", []),
        ({"a": TWO, "b": ONE}, "", "", ["a"]),
        ({"a": TWO, "b": THREE}, "", "", ["b", "a"]),
        ({"a": TWO, "b": THREE}, "b", "b", ["b", "a"]),
        ({"a": TWO, "b": TWO}, "b", "", ["a", "b"]),
        ({"a": THREE}, "b", "", ["a"]),
    ],
)
def test_only_who_died_alone_is_set_aside(
    counts: dict[str, Count], died_on_trial: str, aside: str, tried: list[str]
) -> None:
    record = Record(counts)
    assert record.to_set_aside(died_on_trial) == aside
    assert record.to_try() == tried


class World:
    """Sagas under an engine that dies of some of them, of kills from outside, or is stopped."""

    def __init__(self, deadly: set[int], count: int) -> None:
        self.rows = {f"s{number}": 1 for number in range(count)}
        self.deadly = {f"s{number}" for number in deadly}
        self.aside: list[str] = []
        self.left: Record | None = None

    def answer(self, saga_id: str) -> None:
        self.rows[saga_id] += 1

    def run(self, killed_after: int | None) -> bool:
        """One process, killed from outside once so many sagas had an answer. True: it died of a saga."""
        record = self.left.after_death(self.rows) if self.left else Record()
        if self.left and (culprit := record.to_set_aside(self.left.on_trial)):
            self.aside.append(culprit)
            del self.rows[culprit]
        for saga_id in [each for each in record.to_try() if each in self.rows]:
            if saga_id in self.deadly:
                self.left = Record(record.counts, saga_id)
                return True
            self.answer(saga_id)
        self.left = record
        if self.deadly & self.rows.keys():
            return True
        for saga_id in list(self.rows)[:killed_after]:
            self.answer(saga_id)
        return False


@given(
    count=st.integers(1, 12),
    deadly=st.sets(st.integers(0, 11), max_size=4),
    kills=st.lists(st.integers(0, 12), max_size=6),
)
def test_whoever_kills_is_set_aside_and_nobody_else(count: int, deadly: set[int], kills: list[int]) -> None:
    world = World({number for number in deadly if number < count}, count)
    most = SET_ASIDE_AT * (len(world.deadly) + 1)
    died = 0
    while world.run(killed_after=None):
        died += 1
        assert died <= most, "each has at most three deaths of its own"
    for answers in kills:
        world.run(killed_after=answers)
    assert set(world.aside) == world.deadly


def test_the_file_says_what_was_left_and_is_gone_after_a_stop(tmp_path: Path) -> None:
    log = tmp_path / "saga-log.db"
    first = Deaths(log)
    assert first.left_behind() is None
    first.begin(Record({"a": TWO}))
    first.try_alone("a")
    assert Deaths(log).left_behind() == Record({"a": TWO}, "a")
    first.try_no_more()
    assert Deaths(log).left_behind() == Record({"a": TWO})
    first.end()
    first.end()
    assert Deaths(log).left_behind() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"counts": 1, "on_trial": ""}',
        '{"counts": {"a": ["x", 1]}, "on_trial": ""}',
        "\0" * 9,
    ],
)
def test_a_file_that_says_nothing_of_use_counts_one_death(tmp_path: Path, text: str) -> None:
    (tmp_path / "saga-log.db.deaths").write_text(text)
    assert Deaths(tmp_path / "saga-log.db").left_behind() == Record()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    for name in ("saga-log.db.deaths", "saga-log.db.deaths.new"):
        (tmp_path / name).symlink_to(elsewhere)
    deaths = Deaths(tmp_path / "saga-log.db")
    assert deaths.left_behind() is None
    deaths.begin(Record({"a": TWO}))
    assert elsewhere.read_text() == "precious"
