"""Ids of sagas and runs."""

from random import Random
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from sagagen.runtime.identity import direct_id, random_saga_id, run_id, saga_id


def test_an_id_is_the_same_on_every_gateway_and_for_ever() -> None:
    assert saga_id("shop", "anonymous", "/a.B/C", "task-001") == "258952fe-669b-5c9a-b9eb-3ab3e3bf8f95"
    assert UUID(saga_id("shop", "anonymous", "/a.B/C", "task-001")).version == 5


PARTS = st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))


@settings(max_examples=30)
@given(PARTS, PARTS)
def test_other_parts_make_another_id(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    assert (saga_id(*one) == saga_id(*other)) == (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    assert saga_id("shop", "ab", "c", "k") != saga_id("shop", "a", "bc", "k")
    assert direct_id("ab", "c", "k") != direct_id("a", "bc", "k")
    assert direct_id("a", "b", "k").startswith("direct:")


def test_random_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    ids = [random_saga_id(ms, Random(7)) for ms in (0, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1)]
    assert ids == sorted(ids)
    assert {UUID(each).version for each in ids} == {7}
    assert {UUID(each).variant for each in ids} == {"specified in RFC 4122"}
    assert UUID(ids[1]).int >> 80 == 1_700_000_000_000
    assert random_saga_id(5) != random_saga_id(5)


def test_a_run_is_sixteen_hex_digits() -> None:
    runs = {run_id(Random(seed)) for seed in range(100)}
    assert len(runs) == 100
    assert all(len(run) == 16 and int(run, 16) >= 0 for run in runs)
