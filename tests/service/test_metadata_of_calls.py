"""What a service believes of a call's metadata: whoever reaches its port may have written it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any

import pytest
from grpclib.const import Status as Code
from hypothesis import example, given
from hypothesis import strategies as st
from ledger import GET, PUT, UNDO, Ledger, RunningLedger, Turnstile, database_in, put, running
from small_mesh import BUDGETED, RETRY, Text, saga, saga_call
from waiting import LIMIT_S

from sagagen.runtime.identity import owner_digest, run_id
from sagagen.runtime.model.definition import (
    MAX_CALLER_BYTES,
    MAX_KEY_LENGTH,
    Action,
    Direction,
    ForEach,
    Method,
    Step,
    StepKind,
)
from sagagen.runtime.model.security import ClaimValue
from sagagen.runtime.rpc.caller_claims import ClaimsTooLong, canonical, claims_of
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.limits import check_metadata
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.refusals import OWNER_RUN, UNKNOWN_CALL, BarrierRefusal

WHOLE = saga_call().to_metadata()
LONG = "x" * 300

BROKEN: dict[str, tuple[str, str]] = {
    "an empty saga id": ("sagagen-saga-id", ""),
    "a saga id that stands for a direct write": ("sagagen-saga-id", "direct:1"),
    "a long saga id": ("sagagen-saga-id", LONG),
    "an escape in the saga id": ("sagagen-saga-id", "a\x1b]0;b"),
    "a line break in the saga id": ("sagagen-saga-id", "a\nb"),
    "a NUL in the saga id": ("sagagen-saga-id", "a\0b"),
    "half a surrogate pair in the saga id": ("sagagen-saga-id", "a\ud800"),
    "an empty run": ("sagagen-run", ""),
    "a long run": ("sagagen-run", LONG),
    "a run of other characters": ("sagagen-run", "run 1"),
    "an empty step": ("sagagen-step", ""),
    "a long step": ("sagagen-step", LONG),
    "a step with an escape": ("sagagen-step", "put\x1b[2J"),
    "an item without a key": ("sagagen-step", "put[]"),
    "an item whose bracket is open": ("sagagen-step", "put[a"),
    "an item of no step": ("sagagen-step", "[a]"),
    "more behind an item": ("sagagen-step", "put[a]b"),
    "an item's key that is not encoded": ("sagagen-step", "put[größe]"),
    "an item's key with a space": ("sagagen-step", "put[a b]"),
    "an item's key that is encoded though it need not be": ("sagagen-step", "put[%41]"),
    "an item's key encoded in small letters": ("sagagen-step", "put[%c3%b6]"),
    "an item's key with a lone percent sign": ("sagagen-step", "put[5%]"),
    "an item's key that is no UTF-8": ("sagagen-step", "put[%FF]"),
    "an item's key with a line break": ("sagagen-step", "put[a%0Ab]"),
    "an item's key with an escape": ("sagagen-step", "put[%1B]"),
    "an item's key of 129 bytes": ("sagagen-step", f"put[{'x' * 129}]"),
    "an item's key of 65 letters of two bytes": ("sagagen-step", f"put[{'%C3%B6' * 65}]"),
    "a step with an encoded name": ("sagagen-step", "p%75t"),
    "a claim of another step": ("sagagen-step", "~put"),
    "an unknown kind": ("sagagen-kind", "final"),
    "an unknown direction": ("sagagen-direction", "sideways"),
    "a start before all time": ("sagagen-started", "-1"),
    "a start beyond SQLite's integers": ("sagagen-started", "9" * 30),
    "a start with digits of other scripts": ("sagagen-started", "\uff11\uff12"),
    "a start with an underscore": ("sagagen-started", "1_000"),
    "a start with a space": ("sagagen-started", " 1"),
    "a fraction": ("sagagen-started", "1.5"),
    "the attempt 0": ("sagagen-attempt", "0"),
    "an attempt beyond SQLite's integers": ("sagagen-attempt", "9" * 30),
    "an end beyond SQLite's integers": ("sagagen-not-after", "9" * 30),
    "an empty end": ("sagagen-not-after", ""),
}
CLAIMS_BROKEN = (
    "{",
    "[]",
    "1",
    '{"a":null}',
    '{"a":1.5}',
    '{"a":NaN}',
    '{"a":{}}',
    '{"a":[1]}',
    '{"a":9223372036854775808}',
    '{"a": 1}',
    "%7B%7D",
    f'{{"a":"{"x" * 2048}"}}',
    "[" * 2000,
    f'{{"a":"{"%C3%B6" * 400}"}}',
    "x" * 10_000,
)
CALLERS_BROKEN = ("a b", "größe", "%", "%41", "%FF", "%c3%b6", "x" * 1025, "%C3%B6" * 513, "x" * 10_000)


@pytest.fixture
async def running_ledger(tmp_path: Path) -> AsyncGenerator[RunningLedger]:
    ledger = Ledger()
    async with running(tmp_path, ledger) as host:
        yield RunningLedger(host, ledger, database_in(tmp_path))


async def refused(ledger: RunningLedger, metadata: Mapping[str, str], path: str = PUT.path) -> RpcError:
    with pytest.raises(RpcError) as raised:
        await ledger.host.handle(path, b"" if path == GET.path else put(), metadata, LIMIT_S)
    return raised.value


@pytest.mark.parametrize("path", [PUT.path, UNDO.path, GET.path, "/lab.v1.LedgerService/Charge"])
async def test_metadata_that_no_engine_sends_is_refused_and_leaves_nothing(
    running_ledger: RunningLedger, path: str
) -> None:
    for name, (entry, value) in BROKEN.items():
        error = await refused(running_ledger, WHOLE | {entry: value}, path)
        assert (error.code, entry in error.message) == (Code.INVALID_ARGUMENT, True), (name, error)
        assert error.message.isprintable(), name
        assert len(error.message) < 200, name
        without = {key: each for key, each in WHOLE.items() if key != entry}
        assert (await refused(running_ledger, without, path)).code is Code.INVALID_ARGUMENT, name
    for caller in CALLERS_BROKEN:
        error = await refused(running_ledger, WHOLE | {"sagagen-caller": caller}, path)
        assert (error.code, "sagagen-caller" in error.message) == (Code.INVALID_ARGUMENT, True), caller
    for claims in CLAIMS_BROKEN:
        error = await refused(running_ledger, WHOLE | {"sagagen-claims": claims}, path)
        assert (error.code, "sagagen-claims" in error.message) == (Code.INVALID_ARGUMENT, True), claims
        assert len(error.message) < 200, claims
    assert running_ledger.states() == {}
    assert running_ledger.ledger.puts == 0


async def test_a_call_that_can_not_be_recorded_spoils_no_others(running_ledger: RunningLedger) -> None:
    """They share a transaction, which an integer that SQLite can't hold voided."""
    stop = Turnstile()
    running_ledger.ledger.on_put = stop
    async with asyncio.TaskGroup() as group:
        first = group.create_task(running_ledger.act())
        await stop.entered.wait()
        broken = group.create_task(refused(running_ledger, WHOLE | BROKEN_STARTED))
        await asyncio.sleep(0)
        stop.released.set()
    assert first.result().response
    assert broken.result().code is Code.INVALID_ARGUMENT


BROKEN_STARTED = {"sagagen-saga-id": "other", "sagagen-started": "9" * 30}


@pytest.mark.parametrize("key", ["", LONG, "a\nb", "a\x1b[2J", "ü", "\ud800"])
async def test_a_key_of_a_direct_write_is_one_that_a_gateway_would_send(
    running_ledger: RunningLedger, key: str
) -> None:
    error = await refused(running_ledger, {"idempotency-key": key})
    assert (error.code, "idempotency-key" in error.message) == (Code.INVALID_ARGUMENT, True)


async def test_another_run_is_turned_down_and_not_told_whose_the_saga_is(
    running_ledger: RunningLedger,
) -> None:
    """Who knew the owner's run could undo its steps."""
    await running_ledger.act(saga_call(run="the-owner"))
    for direction in Direction:
        error = await refused(running_ledger, saga_call(direction=direction, run="another").to_metadata())
        assert error.reason == BarrierRefusal.OTHER_RUN
        assert "the-owner" not in str(error.to_status())
        assert error.metadata[OWNER_RUN] == owner_digest("saga-1", "the-owner")
    assert running_ledger.states() == {("put", "action"): "DONE"}


def test_an_owner_is_named_so_that_only_who_knows_the_run_finds_it() -> None:
    names = {owner_digest(saga_id, run) for saga_id in ("a", "ab", "b") for run in ("ba", "a", "b", "bc")}
    assert len(names) == 12
    assert all(len(name) == 32 for name in names)


# -- against the contract ------------------------------------------------------------------------------------------


def action(method: Method[Any, Any], *, is_undo: bool = False) -> Action:
    return Action("ledger", method, lambda _: Text(value="x"), 1.0, BUDGETED if is_undo else RETRY)


EACH = ForEach(items=lambda _: [], key=lambda _: "")
KNOWN = (
    saga(
        Step("reserve", StepKind.COMPENSATABLE, action(PUT), action(UNDO, is_undo=True), for_each=EACH),
        Step("put", StepKind.COMPENSATABLE, action(PUT), action(UNDO, is_undo=True)),
        Step("look", StepKind.COMPENSATABLE, action(GET)),
        Step("settle", StepKind.PIVOT, action(PUT)),
    ),
)
OF_THE_CONTRACT = [
    (PUT.path, "reserve[größe]", StepKind.COMPENSATABLE, Direction.ACTION),
    (UNDO.path, "reserve[größe]", StepKind.COMPENSATABLE, Direction.COMPENSATION),
    (PUT.path, "put", StepKind.COMPENSATABLE, Direction.ACTION),
    (UNDO.path, "put", StepKind.COMPENSATABLE, Direction.COMPENSATION),
    (GET.path, "look", StepKind.COMPENSATABLE, Direction.ACTION),
    (PUT.path, "settle", StepKind.PIVOT, Direction.ACTION),
]


def calls() -> list[tuple[str, SagaCall]]:
    return [
        (path, saga_call(step, direction, kind=kind))
        for path in (PUT.path, UNDO.path, GET.path)
        for step in ("put", "look", "settle", "other", "reserve", "reserve[größe]", "put[größe]", "~claim")
        for kind in StepKind
        for direction in Direction
    ]


async def test_only_calls_that_the_contract_makes_are_answered(tmp_path: Path) -> None:
    """No caller may try a compensation as an action, or another kind, under which a refusal would be recorded."""
    async with running(tmp_path, Ledger(), sagas=KNOWN) as host:
        ledger = RunningLedger(host, Ledger(), database_in(tmp_path))
        for number, (path, call) in enumerate(calls()):
            called = call._replace(saga_id=f"{number}-{call.kind}-{call.direction}", run=f"r{len(path)}")
            if (path, call.step, call.kind, call.direction) in OF_THE_CONTRACT:
                await host.handle(
                    path, b"" if path == GET.path else put(called.saga_id), called.to_metadata(), LIMIT_S
                )
                continue
            error = await refused(ledger, called.to_metadata(), path)
            assert (error.code, error.domain, error.reason) == (Code.UNAVAILABLE, DOMAIN, UNKNOWN_CALL), call
            assert error.retry_after_s, "a service that is behind its gateway is deployed soon"
        assert set(ledger.states()) == {
            ("reserve[größe]", "action"),
            ("reserve[größe]", "compensation"),
            ("put", "action"),
            ("put", "compensation"),
            ("settle", "action"),
        }


PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
ITEM_KEYS = st.text(PRINTABLE, min_size=1, max_size=128).filter(lambda key: len(key.encode()) <= 128)
STEPS = st.from_regex(r"[a-z][a-z0-9_]{0,127}", fullmatch=True)
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)))
CALLERS = ANY_TEXT.filter(lambda caller: len(caller.encode()) <= MAX_CALLER_BYTES)
CLAIMS: st.SearchStrategy[dict[str, ClaimValue]] = st.dictionaries(
    st.text(ascii_lowercase, min_size=1, max_size=8),
    st.one_of(
        ANY_TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.lists(ANY_TEXT, max_size=3).map(tuple)
    ),
    max_size=4,
).filter(lambda claims: len(repr(claims).encode()) < 1000)
TIMES = st.integers(1, 10**13)


@st.composite
def sent_by_engines(draw: st.DrawFn) -> SagaCall:
    name = draw(STEPS)
    return SagaCall(
        saga_id="saga-1",
        run=run_id(Random(draw(st.integers()))),
        started_ms=draw(TIMES),
        step=draw(st.one_of(st.just(name), st.just("~claim"), ITEM_KEYS.map(lambda key: f"{name}[{key}]"))),
        kind=draw(st.sampled_from(StepKind)),
        direction=draw(st.sampled_from(Direction)),
        attempt=draw(st.integers(1, 10**6)),
        not_after_ms=draw(TIMES),
        caller=draw(st.one_of(st.just(""), CALLERS)),
        claims=canonical(draw(CLAIMS)),
    )


@given(call=sent_by_engines())
@example(call=saga_call("put[100%]"))
@example(call=saga_call(f"put[{'ö' * 64}]"))
@example(call=saga_call("put[]]"))
def test_what_engines_send_is_what_services_take(call: SagaCall) -> None:
    metadata = call.to_metadata()
    check_metadata(metadata)
    assert all(value.strip() == value for value in metadata.values()), "spaces at the ends get lost"
    assert SagaCall.from_metadata(metadata) == call
    assert metadata["idempotency-key"] == call.idempotency_key
    assert len(call.idempotency_key) <= MAX_KEY_LENGTH


@given(claims=CLAIMS)
def test_claims_come_back_but_for_defaults(claims: dict[str, ClaimValue]) -> None:
    text = canonical(claims)
    assert claims_of(text) == {name: value for name, value in claims.items() if value}
    assert canonical(dict(reversed(claims.items()))) == text, "equal claims have one text"
    assert canonical(claims_of(text)) == text


def test_claims_that_services_can_not_be_told_are_refused() -> None:
    with pytest.raises(ClaimsTooLong, match="2058 bytes as they are sent, at most 2048"):
        canonical({"a": "x" * 2050})
    wrong: list[Any] = [1.5, 2**63, None, [1], ("a", 1), "\ud800"]
    for value in wrong:
        if value is not None:
            with pytest.raises(ValueError, match=r"claim|surrogates"):
                canonical({"a": value})


def test_each_item_has_an_idempotency_key_of_its_own() -> None:
    """Also where it is cut: third parties take 255 characters."""
    steps = ["put", *(f"put[{key}]" for key in ("a", "b", "a]", "%61", "ö", "ö" * 64, "ö" * 63 + "oo"))]
    keys = {saga_call(step, direction).idempotency_key for step in steps for direction in Direction}
    assert len(keys) == 2 * len(steps)
    assert saga_call("put[a]").idempotency_key == "saga-1/put[a]/action"
    assert saga_call("put[größe 3]").idempotency_key == "saga-1/put[gr%C3%B6%C3%9Fe%203]/action"


def test_a_gateway_that_says_nothing_of_the_caller_is_understood() -> None:
    assert "sagagen-caller" not in WHOLE
    call = SagaCall.from_metadata(WHOLE)
    assert call is not None
    assert call.caller == ""


def test_a_caller_that_is_too_long_is_left_out_and_not_cut() -> None:
    """Half of a name is somebody else's."""
    assert "sagagen-caller" not in saga_call()._replace(caller="x" * 1025).to_metadata()
    assert saga_call()._replace(caller="ö" * 512).to_metadata()["sagagen-caller"] == "%C3%B6" * 512
