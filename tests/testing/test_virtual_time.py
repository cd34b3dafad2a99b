"""Virtual time: what would hang on it is named instead."""

import asyncio
import importlib

import pytest

from sagagen.testing.virtual_time import NothingWillHappen, TimeStandsStill, virtual_time

MODULE = importlib.import_module("sagagen.testing.virtual_time")  # the package has a function of that name


def test_what_goes_round_without_end_is_named_with_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_TURNS_AT_ONCE", 1000)

    @virtual_time
    async def polls() -> None:
        await asyncio.sleep(3600)
        go_round()
        await asyncio.Event().wait()

    def go_round() -> None:
        asyncio.get_running_loop().call_soon(go_round)

    with pytest.raises(TimeStandsStill, match=r"still second 3600\.000"):
        polls()


def test_turns_count_only_while_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_TURNS_AT_ONCE", 50)

    @virtual_time
    async def works() -> int:
        for _ in range(100):
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
        return 7

    assert works() == 7


def test_a_wait_for_nothing_is_named() -> None:
    @virtual_time
    async def waits() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingWillHappen):
        waits()
