"""The commands of `sagagen sagas` on a log at rest: each that is shown is accepted, for one saga or for many."""

import asyncio
import json
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result
from grpclib.const import Status as Code
from shop_mesh import order
from small_mesh import running_engine

from generated.mesh import MESH
from sagagen.cli import main
from sagagen.runtime.rpc.errors import DOMAIN, RpcError, refused
from sagagen.runtime.rpc.transport import Reply

STUCK_AT = {"charge_payment": "ChargePayment", "confirm_order": "ConfirmOrder", "create_order": "CancelOrder"}
"""By the step: the rpc that the services know nothing of."""


class Forgetful:
    """Services that answer with the default response; one call they have forgotten, and one they may refuse."""

    def __init__(self, forgotten: str, refused: str = "") -> None:
        self.forgotten = forgotten
        self.refused = refused

    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        method = path.rpartition("/")[2]
        if method == self.forgotten:
            raise RpcError(Code.FAILED_PRECONDITION, "unknown here", reason="FORGOTTEN", domain=DOMAIN)
        if method == self.refused:
            raise refused("TOO_MUCH", "no", domain="payment")
        return Reply(b"")


async def run_shop(folder: Path, services: Forgetful, ids: Sequence[str]) -> None:
    transports = {service.name: services for service in MESH.services}
    async with running_engine(folder, MESH.sagas, transports, random=Random(1)) as engine:
        for saga_id in ids:
            await engine.accept(order(5.0, saga_id))
        await engine.wait_until_idle()


def stuck_log(folder: Path, step: str, count: int = 1) -> Path:
    """A log at rest, whose sagas are stuck at a step (or at its compensation)."""
    services = Forgetful(STUCK_AT[step], "ChargePayment" if step == "create_order" else "")
    asyncio.run(run_shop(folder, services, [f"saga-{number}" for number in range(count)]))
    return folder / "saga-log.db"


def finish(log: Path, services: Forgetful | None = None) -> None:
    """Have a gateway go on with it, whose services are well."""
    asyncio.run(run_shop(log.parent, services or Forgetful(""), ()))


def sagas(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, ["sagas", *arguments], input=input)


def shown(log: Path, saga_id: str = "saga-0") -> dict[str, Any]:
    result = sagas("show", saga_id, "--log", str(log), "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def proposed(log: Path) -> list[list[str]]:
    """The commands that `show` proposes, as a shell would take them."""
    text = sagas("show", "saga-0", "--log", str(log)).output
    lines = [line for line in text.splitlines() if line.startswith("  sagagen sagas ")]
    return [shlex.split(line, comments=True)[2:] for line in lines]


ACTS = {
    "charge_payment": ["retry saga-0", "cancel saga-0"],
    "confirm_order": [
        "retry saga-0",
        "resolve saga-0 confirm_order --as done",
        "resolve saga-0 confirm_order --as refused",
    ],
    "create_order": ["retry saga-0", "resolve saga-0 create_order"],
}


@pytest.mark.parametrize("step", ACTS)
def test_each_command_that_is_shown_can_be_pasted_is_accepted_and_may_be_repeated(
    step: str, tmp_path: Path
) -> None:
    log = stuck_log(tmp_path / "stuck", step)
    commands = proposed(log)
    assert [" ".join(command[:-2]) for command in commands] == ACTS[step]
    for number, command in enumerate(commands):
        copy = tmp_path / str(number) / log.name
        shutil.copytree(log.parent, copy.parent)
        here = [*command[:-1], str(copy)]
        for _ in range(2 if command[0] != "retry" else 1):
            done = sagas(*here, input="the bank says so\n")
            assert done.exit_code == 0, done.output
        assert len(shown(copy)["operators"]) == 1, "said twice, done once"
        finish(copy)
        ended = "COMPENSATED" if command[0] == "cancel" or "refused" in command else "COMPLETED"
        assert shown(copy)["status"] == ("COMPENSATED" if step == "create_order" else ended)


def test_a_pivot_is_resolved_with_its_response_and_its_note_is_shown(tmp_path: Path) -> None:
    log = str(stuck_log(tmp_path, "confirm_order"))
    wrong = sagas(
        "resolve", "saga-0", "confirm_order", "--response", '{"nothing": 1}', "--note", "n", "--log", log
    )
    assert (wrong.exit_code, "no field named" in wrong.output) == (1, True)
    for json_text in ("{", "[1]"):
        bad = sagas(
            "resolve", "saga-0", "confirm_order", "--response", json_text, "--note", "n", "--log", log
        )
        assert bad.exit_code != 0
        assert "Traceback" not in bad.output
    done = sagas(
        "resolve",
        "saga-0",
        "confirm_order",
        "--response",
        "{}",
        "--note",
        "it is",
        "--log",
        log,
        "--by",
        "ann",
    )
    assert done.exit_code == 0, done.output
    assert "ann resolved as done confirm_order: it is" in done.output
    assert done.output.endswith("The saga goes on when a gateway opens this log.\n")


def test_after_an_outage_many_are_ended_with_one_command(tmp_path: Path) -> None:
    log = stuck_log(tmp_path, "charge_payment", count=30)
    where = ("--log", str(log))
    for arguments, code, says in (
        (("cancel", *where), 2, "say which"),
        (("resolve", "--status", "STUCK", "--note", "n", *where), 2, "name it with --step"),
        (("cancel", "--step", "charge_payment", *where), 2, "say --yes"),
        (("cancel", "--step", "confirm_order", "--yes", *where), 0, "no saga that matches"),
        (("skip", "--step", "charge_payment", "--note", "n", "--yes", *where), 0, "no saga that matches"),
        (("cancel", "saga-1", "--yes", *where), 2, "without a SAGA_ID"),
        (("cancel", "--step", "charge_payment", "--dry-run", *where), 0, "would be given to 30 sagas"),
    ):
        result = sagas(*arguments)
        assert (result.exit_code, says in result.output) == (code, True), result.output
    assert all(not shown(log, f"saga-{n}")["operators"] for n in range(2)), "nothing was done"
    assert sagas("cancel", "saga-29", *where).exit_code == 0
    done = sagas("cancel", "--step", "charge_payment", "--yes", "--note", "outage", "--by", "ann", *where)
    assert (done.exit_code, "cancel: 29 done, 0 refused" in done.output) == (0, True), done.output
    again = sagas("cancel", "--step", "charge_payment", "--yes", *where)
    assert "no saga that matches" in again.output
    finish(log)
    nothing = sagas("list", *where)
    assert nothing.output == "no open sagas; 30 have ended (--status ALL)\n"
    assert sagas("list", "--status", "RUNNING", *where).output == "no sagas match\n"
    stats = json.loads(sagas("stats", "--json", *where).output)
    assert stats["sagas"]["place_order"]["ended"] == {"COMPENSATED": 30}


def test_what_some_refuse_is_said_and_the_others_are_done(tmp_path: Path) -> None:
    log = stuck_log(tmp_path, "confirm_order", count=3)
    where = ("--log", str(log))
    given = ("--step", "confirm_order", "--note", "n", "--yes", "--json", *where)
    refused_all = sagas("resolve", *given)
    assert refused_all.exit_code == 1
    results = json.loads(refused_all.output)["results"]
    assert [("done or refused" in each["refused"]) for each in results] == [True] * 3
    done = sagas("resolve", "--as", "done", *given)
    assert done.exit_code == 0, done.output
    assert {each["status"] for each in json.loads(done.output)["results"]} == {"RUNNING"}


@pytest.mark.parametrize(
    "arguments", [("resolve", "saga-0", "--note", "n"), ("skip", "saga-0", "--note", "n")]
)
def test_who_vouches_names_the_step(arguments: tuple[str, ...]) -> None:
    result = sagas(*arguments)
    assert (result.exit_code, "names the STEP" in result.output) == (2, True)


@pytest.mark.parametrize("saga_id", ["", "\udcff", "a\nb"])
def test_what_is_no_id_is_said_to_be_none(saga_id: str) -> None:
    for act in ("show", "retry", "cancel", "hold"):
        with suppress(UnicodeEncodeError):
            result = sagas(act, saga_id)
            assert (result.exit_code, "is no id of a saga" in result.output) == (2, True), result.output


def test_a_log_that_can_t_be_opened_says_so_in_a_sentence(tmp_path: Path) -> None:
    """Whoever runs the tests may write everywhere: a folder where the lock would be is as much in the way."""
    log = stuck_log(tmp_path, "charge_payment")
    lock = log.with_name(log.name + ".lock")
    lock.unlink()
    lock.mkdir()
    for arguments in (("list",), ("show", "saga-0"), ("stats",), ("cancel", "saga-0")):
        result = sagas(*arguments, "--log", str(log))
        assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
        for part in ("can't be opened: Is a directory", "copy it", "to a folder that you can write to"):
            assert part in result.output
