"""Names of the document: apart even where a program drops separators and case, and the same whatever comes behind."""

import re
from collections.abc import Mapping
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagagen.contract.model import Route
from sagagen.emit.openapi_names import component_names, operation_ids
from sagagen.emit.openapi_ranges import pattern_between

RPCS = {
    "two services of one short name": ["a.v1.Query.Params", "b.v1.Query.Params"],
    "a word that may belong to either": ["a.S.Echo_X", "a.S_Echo.X"],
    "a second binding beside a number": ["a.S.Echo", "a.S.Echo_2", "a.S.Echo"],
    "the gateway's own": ["a.get.Saga", "a.S.Get"],
    "letters of two cases": ["a.S.GetX", "a.S.Getx", "a.S.Get_x"],
}


def routes(rpcs: list[str]) -> list[Route]:
    def method(name: str) -> Any:
        service, _, short = name.rpartition(".")
        owner = SimpleNamespace(full_name=service, name=service.rpartition(".")[2])
        return SimpleNamespace(full_name=name, name=short, containing_service=owner)

    return [cast(Route, SimpleNamespace(method=method(name))) for name in rpcs]


def heard(name: str) -> str:
    """As a program hears it that makes a name of its own language from it."""
    return re.sub(r"[\W_]", "", name).lower()


@pytest.mark.parametrize("rpcs", RPCS.values(), ids=[*RPCS])
def test_no_two_operations_sound_alike(rpcs: list[str]) -> None:
    ids = [*operation_ids(routes(rpcs), ["listSagas", "getSaga"]), "listSagas", "getSaga"]
    assert len({heard(each) for each in ids}) == len(ids)


NAMES = st.builds(
    "{}.{}.{}".format,
    st.sampled_from("abA"),
    st.sampled_from(["S", "S_E", "E"]),
    st.sampled_from(["E_X", "X", "X_2"]),
)


@given(st.lists(NAMES, max_size=8), NAMES)
def test_an_operation_keeps_its_id_whatever_comes_behind_it(rpcs: list[str], more: str) -> None:
    before = dict(zip(rpcs, operation_ids(routes(rpcs), ()), strict=True))
    last = f"z.{more}"
    after = [*operation_ids(routes([*rpcs, last]), ())]
    assert len({heard(each) for each in after}) == len(after)
    singles = [name for name in rpcs if rpcs.count(name) == 1]
    now = dict(zip([*rpcs, last], after, strict=True))
    assert {name: now[name] for name in singles} == {name: before[name] for name in singles}


def test_a_plain_name_is_kept_where_it_is_alone() -> None:
    ids = [*operation_ids(routes(["shop.v1.OrderService.GetOrder", "shop.v1.OrderService.GetOrder"]), ())]
    assert ids == ["OrderService_GetOrder", "OrderService_GetOrder_2"]


COMPONENTS: Mapping[str, dict[str, str]] = {
    "a nested message": {"a.Order.Status": "a.Order.Status", "a.OrderStatus": "a.OrderStatus_2"},
    "a message that is called like a form": {"a.Sale-Input": "a.Sale-Input", "a.SaleInput": "a.SaleInput_2"},
    "one of ours": {"sagagen.Problem": "sagagen.Problem_2"},
}


@pytest.mark.parametrize("case", COMPONENTS.values(), ids=[*COMPONENTS])
def test_no_two_components_sound_alike(case: dict[str, str]) -> None:
    named = component_names({"sagagen-Problem": "sagagen.Problem"}, {name: name for name in case})
    assert named == {"sagagen-Problem": "sagagen.Problem", **case}


@given(
    st.lists(st.integers(-(2**64), 2**64), min_size=2, max_size=2).map(sorted), st.integers(-(2**64), 2**64)
)
def test_a_range_is_the_texts_of_its_numbers(ends: list[int], number: int) -> None:
    least, most = ends
    pattern = re.compile(pattern_between(least, most))
    tried = {
        least - 1,
        least,
        least + 1,
        most - 1,
        most,
        most + 1,
        number,
        -number,
        0,
        least // 10,
        most // 10,
    }
    for each in tried:
        assert (pattern.search(str(each)) is not None) is (least <= each <= most), pattern.pattern


def test_small_ranges_exactly() -> None:
    ends = [-120, -100, -99, -10, -9, -1, 0, 1, 9, 10, 11, 99, 100, 120]
    for least, most in [*pairwise(ends), (-120, 120), (5, 105), (-7, 7)]:
        pattern = re.compile(pattern_between(least, most))
        assert [n for n in range(-130, 131) if pattern.search(str(n))] == [*range(least, most + 1)]


@pytest.mark.parametrize("text", ["-0", "00", "01", "+1", "", " 1", "1\n2"])
def test_only_the_canonical_text_of_a_number_counts(text: str) -> None:
    assert not re.search(pattern_between(-5, 5), text)
