"""Orders in a log at rest: whoever has the file is asked for no key, and the audit says so."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from test_sagas_acts import stuck_log

from sagagen.cli import main
from sagagen.cli.sagas_source import ALONE, HAS_THE_FILE, LogAtRest, at_rest
from sagagen.cli.sagas_user import os_user
from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.audit.entry import Result as Became
from sagagen.runtime.audit.trail import PendingOrder
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.saga.commands import Act, CommandRejected

FOR_EVER_MS = 4_000_000_000_000
ORDER = PendingOrder("0a1b", "saga-0", "resolve", '{"note": "n", "step": "s"}', "ann", 1, FOR_EVER_MS)
DONE = {"note": "by hand", "step": "confirm_order", "as": "done"}


def sagas(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sagas", *arguments])


def within(log: Path, is_alone: bool, ask: Callable[[LogAtRest], Awaitable[Any]]) -> Any:
    async def asked() -> Any:
        async with at_rest(log) as (orders, _):
            return await ask(LogAtRest(orders, {"resolve"}, is_alone=is_alone))

    return asyncio.run(asked())


def test_what_takes_two_persons_is_refused_unless_somebody_says_alone(tmp_path: Path) -> None:
    log = stuck_log(tmp_path, "confirm_order")
    with pytest.raises(CommandRejected, match="--alone"):
        within(log, False, lambda source: source.command("saga-0", Act.RESOLVE, DONE))
    with pytest.raises(CommandRejected, match="tell two persons apart"):
        within(log, True, lambda source: source.confirm("0a1b"))
    shown = within(log, True, lambda source: source.command("saga-0", Act.RESOLVE, DONE))
    assert [each["by"] for each in shown["operators"]] == [os_user()]
    entries = json.loads(sagas("audit", "--log", str(log), "--json").output)["audit"]
    assert [(each["did"], each["result"], each["scheme"]) for each in entries] == [
        ("resolve", "DONE", ALONE),
        ("confirm", "REFUSED", HAS_THE_FILE),
        ("resolve", "REFUSED", HAS_THE_FILE),
    ]


def test_the_commands_at_rest_are_audited_and_found_again(tmp_path: Path) -> None:
    log = stuck_log(tmp_path, "charge_payment")
    here = ("--log", str(log))
    assert sagas("audit", *here).output == "the audit has nothing like that\n"
    assert sagas("cancel", "saga-0", "--by", "ann", "--note", "wrong address", *here).exit_code == 0
    assert sagas("cancel", "saga-0", *here).exit_code == 0
    assert sagas("retry", "nobody", *here).exit_code == 1
    lines = sagas("audit", *here).output.splitlines()
    assert [line.split()[1:5] for line in lines[1:]] == [
        [os_user(), "retry", "nobody", "REFUSED"],
        [os_user(), "cancel", "saga-0", "REPEATED"],
        ["ann", "cancel", "saga-0", "DONE"],
    ]
    assert lines[3].endswith("wrong address")
    assert "retry" not in sagas("audit", "--saga", "saga", *here).output
    assert len(sagas("audit", "--by", "ann", "--since", "1h", *here).output.splitlines()) == 2
    assert len(sagas("audit", "-n", "1", *here).output.splitlines()) == 2
    (first, *_) = json.loads(sagas("audit", "--json", "--by", "ann", *here).output)["audit"]
    assert first["address"] == f"user {os_user()} of this machine"


def test_an_order_that_waits_is_listed_shown_and_withdrawn(tmp_path: Path) -> None:
    async def place() -> None:
        async with SagaLog.open(tmp_path / "log.db") as log:
            await log.audit.place(ORDER, AuditEntry(1, "ann", "resolve", Became.PENDING))

    asyncio.run(place())
    here = ("--log", str(tmp_path / "log.db"))
    assert "0a1b   resolve  saga-0  s     ann" in sagas("orders", *here).output
    assert "0a1b   resolve" in sagas("orders", "0a1b", *here).output
    assert sagas("withdraw", "0a1b", *here).output == "order 0a1b is withdrawn\n"
    again = sagas("withdraw", "0a1b", *here)
    assert (again.exit_code, "waits for a second person" in again.output) == (1, True)
    assert sagas("orders", *here).output == "no order waits for a second person\n"
