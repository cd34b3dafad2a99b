"""What happened to a saga row by row, and what a person sees who looks on: `explain SAGA`, `watch`, `tail`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from click.testing import CliRunner
from grpclib.const import Status as Code
from test_admin_sagas import SECRET_CUSTOMER, gateway, secret_order
from test_sagas_acts import stuck_log

from sagagen.cli import main, sagas_follow
from sagagen.cli.explain_saga import is_saga
from sagagen.cli.sagas_follow import Follower
from sagagen.cli.sagas_options import Filters
from sagagen.cli.sagas_source import Source
from sagagen.runtime.admin.history_shown import history_shown
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga import events
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    EventTaken,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    LoopPlanned,
    NextRequest,
    OperatorRow,
    Outcome,
    PassedOver,
    Planned,
    RefusedByHand,
    Resolved,
    Resumed,
    Retried,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.scope import Failure

PAYLOAD = b"what nobody may read"
ACTION = Direction.ACTION
FAILURE = Failure(step="pay", code="UNAVAILABLE", reason="SPENT", message="no answer")


def made_of_all() -> list[LogEvent]:
    """A row of each kind."""
    return [
        Accepted(
            at_ms=1,
            saga_id="s",
            saga="order",
            version=2,
            digest="d",
            run="0" * 32,
            caller="ann",
            key="k",
            fingerprint=PAYLOAD,
            input=PAYLOAD,
            trace=TraceContext("0" * 32, "0" * 16),
            next=NextRequest(PAYLOAD),
        ),
        Planned(at_ms=2, next=NextRequest(PAYLOAD)),
        LoopPlanned(at_ms=3, step="each", keys=("a", "b"), at_once=1),
        Skipped(at_ms=4, step="gift"),
        Done(at_ms=5, step="create", attempt=1, response=PAYLOAD, next=NextRequest()),
        Failed(
            at_ms=6, step="pay", direction=ACTION, attempt=2, outcome=Outcome.DOUBT, code=Code.UNAVAILABLE
        ),
        TimedOut(at_ms=7, step="answer"),
        EventTaken(at_ms=8, event="answered", key="k", fingerprint=PAYLOAD, payload=PAYLOAD, caller="bob"),
        TimeUp(at_ms=9, step="pay", direction=ACTION),
        TurnedBack(at_ms=10, failure=FAILURE, outcome=Outcome.DOUBT),
        Compensated(at_ms=11, step="create", attempt=1),
        PassedOver(at_ms=12, step="look", reason="READ", message="a read needs no undoing"),
        Ended(at_ms=13, status=SagaStatus.COMPENSATED),
        Stuck(at_ms=14, direction=ACTION, failure=FAILURE),
        Resumed(at_ms=15),
        Retried(at_ms=16, by="ann", note="again", step="pay", direction=ACTION),
        Resolved(at_ms=17, by="ann", note="refunded", step="pay"),
        Cancelled(at_ms=18, by="ann", reason="CANCELLED"),
        Held(at_ms=19, by="ann", step="pay", direction=ACTION),
        DoneByHand(at_ms=20, by="ann", note="paid", step="pay", response=PAYLOAD),
        RefusedByHand(at_ms=21, by="ann", note="not paid", step="pay"),
        GaveUp(at_ms=22, by="ann", failure=FAILURE),
    ]


def kinds() -> set[type[LogEvent]]:
    classes = [
        each for each in vars(events).values() if isinstance(each, type) and issubclass(each, LogEvent)
    ]
    return {each for each in classes if each not in (LogEvent, OperatorRow)}


def test_every_kind_of_row_is_told_in_words_without_a_payload() -> None:
    rows = made_of_all()
    assert {type(row) for row in rows} == kinds(), "a row of each kind is looked at"
    told = list(history_shown(rows))
    assert PAYLOAD.decode() not in json.dumps(told)
    assert [(each["what"], each["step"], each["attempt"], each["by"]) for each in told] == [
        ("accepted", None, None, "ann"),
        ("begins a loop", "each", None, None),
        ("skipped", "gift", None, None),
        ("done", "create", 1, None),
        ("failed", "pay", 2, None),
        ("got no event in time", "answer", None, None),
        ("got the event answered", None, None, "bob"),
        ("has no time left", "pay", None, None),
        ("turned back", "pay", None, None),
        ("undone", "create", 1, None),
        ("left as it is", "look", None, None),
        ("ended COMPENSATED", None, None, None),
        ("stuck", "pay", None, None),
        ("taken up again", None, None, None),
        ("retried", "pay", None, "ann"),
        ("resolved", "pay", None, "ann"),
        ("cancelled", None, None, "ann"),
        ("held", "pay", None, "ann"),
        ("resolved as done", "pay", None, "ann"),
        ("resolved as refused", "pay", None, "ann"),
        ("skipped", "pay", None, "ann"),
    ]
    assert told[7]["why"] is None
    assert told[8]["why"] == "SPENT: no answer"


class ThroughTheListener:
    """A Source, as `AdminListener` is one, over a client of the listener's app."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def list(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return (await self._client.get("/sagas", params=dict(asked))).json()

    async def show(self, saga_id: str) -> Mapping[str, Any]:
        return (await self._client.get(f"/sagas/{saga_id}")).json()

    async def history(self, saga_id: str) -> Mapping[str, Any]:
        return (await self._client.get(f"/sagas/{saga_id}/history")).json()


async def test_whoever_follows_sagas_is_told_each_row_once_and_nothing_of_before(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (client, engine, services):
        source = cast(Source, ThroughTheListener(client))
        follower = Follower(Filters("", (), 0.0, "", ""))

        async def news() -> list[tuple[str, str]]:
            return [(saga["id"], row["what"]) for saga, row in await follower.look(source)]

        assert await news() == []
        assert await news() == [], "what was there before is no news"
        await engine.accept(secret_order("saga-1"))
        await engine.wait_until_idle()
        told = await news()
        assert {saga for saga, _ in told} == {"saga-1"}
        assert [what for _, what in told if what != "claimed its id"] == [
            "accepted",
            "done",
            "done",
            "failed",
            "stuck",
        ]
        assert await news() == []
        services.is_mended = True
        assert (await client.post("/sagas/saga-0/retry", json={"by": "ann"})).status_code == 200
        await engine.wait_until_idle()
        told = await news()
        assert {saga for saga, _ in told} == {"saga-0"}
        whats = [what for _, what in told]
        assert whats[0] == "retried"
        assert whats[-1] == "ended COMPLETED", "it is not open any more, and told to its end"
        assert await news() == []


async def test_a_saga_that_has_left_the_lists_is_told_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over, and newer ones take its place; it may even be purged."""
    monkeypatch.setattr(sagas_follow, "LOOKED_AT", 1)
    async with gateway(tmp_path) as (client, engine, services):
        services.is_mended = True
        source = cast(Source, ThroughTheListener(client))
        follower = Follower(Filters("", (), 0.0, "", ""))
        await follower.look(source)
        told: list[tuple[str, str]] = []
        for number in range(1, 4):
            await engine.accept(secret_order(f"saga-{number}"))
            await engine.wait_until_idle()
            for _ in range(2):
                told += [(saga["id"], row["what"]) for saga, row in await follower.look(source)]
        assert [saga for saga, what in told if what == "ended COMPLETED"] == ["saga-1", "saga-2", "saga-3"]
        assert len(told) == len(set(told)) + 3 * 3, (
            "each has four steps that are done, and nothing comes twice"
        )


@pytest.mark.parametrize("pause", ["0s", "-1s", "nan", "0.01s", "soon"])
def test_nobody_looks_without_a_pause(pause: str) -> None:
    for command in ("watch", "tail"):
        refused = CliRunner().invoke(main, ["sagas", command, "--every", pause])
        assert (refused.exit_code, "--every" in refused.output) == (2, True)


async def test_a_history_has_no_payload_and_is_for_who_may_look(tmp_path: Path) -> None:
    async with gateway(tmp_path, token="0123456789abcdef") as (client, _, _):
        assert (await client.get("/sagas/saga-0/history")).status_code == 401
        as_operator = {"authorization": "Bearer 0123456789abcdef"}
        answer = await client.get("/sagas/saga-0/history", headers=as_operator)
        assert answer.json()["rows"][0]["what"] == "accepted"
        assert SECRET_CUSTOMER not in answer.text
        assert (await client.get("/sagas/none/history", headers=as_operator)).status_code == 404


def test_watching_one_saga_ends_with_it_and_says_how(tmp_path: Path) -> None:
    log = str(stuck_log(tmp_path, "charge_payment"))
    stuck = CliRunner().invoke(main, ["sagas", "watch", "saga-0", "--log", log])
    assert (stuck.exit_code, "STUCK" in stuck.output) == (2, True)
    as_json = CliRunner().invoke(main, ["sagas", "watch", "saga-0", "--log", log, "-o", "json"])
    assert json.loads(as_json.output)["status"] == "STUCK"


def test_a_list_may_be_wide(tmp_path: Path) -> None:
    log = str(stuck_log(tmp_path, "charge_payment"))
    wide = CliRunner().invoke(main, ["sagas", "list", "--log", log, "-o", "wide"]).output
    assert "CHANGED" in wide.splitlines()[0]
    assert "…" not in wide
    assert CliRunner().invoke(main, ["sagas", "list", "--log", log, "--json"]).output.startswith("{")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("SG065", False),
        ("SD004", False),
        ("65", False),
        ("1234", False),
        ("5c0e2f9e", True),
        ("5c0e2f9e-4b1d-5198-a6f6-a130f8fe012f", True),
        ("5C0E", True),
        ("charge", False),
    ],
)
def test_what_is_explained_is_a_code_or_a_saga(text: str, meant: bool) -> None:
    assert is_saga(text) is meant
