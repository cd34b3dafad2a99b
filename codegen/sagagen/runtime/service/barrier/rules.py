"""The barrier of a service: what happens to a call, decided from the rows that earlier calls left.

Theory of operation. Calls of a saga arrive repeated, late and out of order. Each effect and each refusal leaves a row
in the service's own database, in the transaction of the effect itself. `rule` is the whole decision; it is pure, and
its seven rules are tried in order. Two things follow from the rows alone: an effect happens once, however often its
call arrives; and a compensation that overtakes its action leaves a row that shuts the action out for good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from grpclib.const import Status as Code

from sagagen.runtime.identity import owner_digest
from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.refusals import OTHER_PAYLOAD, OWNER_RUN, BarrierRefusal


class State(StrEnum):
    """What became of a call."""

    DONE = "DONE"
    """The handler's effect is in the database; the outcome is the encoded response."""
    REFUSED = "REFUSED"
    """The handler declined; nothing happened and nothing will. The outcome is the encoded google.rpc.Status."""
    EMPTY = "EMPTY"
    """A compensation that found nothing to undo. The outcome is empty: the default response."""
    PENDING = "PENDING"
    """A manual method is under way, or ended without an outcome: its third party may have acted."""


class BarrierRow(NamedTuple):
    """What an earlier call left."""

    run: str
    digest: bytes
    state: State
    outcome: bytes
    not_after_ms: int = 0
    """Of the attempt that wrote it; a PENDING one does not go on beyond it."""


class ActionState(StrEnum):
    """What a compensation knows of its action."""

    DONE = "DONE"
    UNKNOWN = "UNKNOWN"
    """A manual method that died on its way: the third party may have acted, the local effects never happened."""


class StepRows(NamedTuple):
    """What a service has of a saga, as far as a call of one step needs it. A loop leaves a row for each of its items,
    so a call that read them all would make a thousand items cost a million rows.
    """

    owner: str | None = None
    """The run of the saga's rows here; None if there are none. Any row tells, since no two runs leave rows in one
    service."""
    action: BarrierRow | None = None
    compensation: BarrierRow | None = None


@dataclass(frozen=True, slots=True)
class RunHandler:
    """Nothing stands against the call."""

    is_repeat: bool = False
    """An earlier attempt left PENDING, so it may have reached its third party."""
    action: ActionState | None = None
    """For a compensation: what is known of that which it undoes."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The call happened before: its outcome is answered again."""

    row: BarrierRow


@dataclass(frozen=True, slots=True)
class RecordEmpty:
    """A compensation with nothing to undo: a row is left, so that its action stays shut out."""


@dataclass(frozen=True, slots=True)
class TurnDown:
    """Nothing runs and nothing is recorded."""

    error: RpcError


BarrierDecision = RunHandler | Replay | RecordEmpty | TurnDown


def rule(
    call: SagaCall, digest: bytes, rows: StepRows, purged_through_ms: int, now_ms: int
) -> BarrierDecision:
    """The first of the seven rules that fits.

    `rows` are those of the call's step. `purged_through_ms` is the latest `started` of the sagas whose rows were
    deleted.
    """
    is_action = call.direction is Direction.ACTION
    own = rows.action if is_action else rows.compensation
    if now_ms > call.not_after_ms:
        late_s = (now_ms - call.not_after_ms) / 1000
        return _turn_down(
            Code.DEADLINE_EXCEEDED, BarrierRefusal.EXPIRED, f"arrived {late_s:g} s after its deadline"
        )
    if rows.owner is not None and rows.owner != call.run:
        differs = own is not None and own.digest != digest
        return _turn_down(
            Code.ABORTED,
            BarrierRefusal.OTHER_RUN,
            "another run owns this saga",
            {OWNER_RUN: owner_digest(call.saga_id, rows.owner)}
            | ({OTHER_PAYLOAD: "true"} if differs else {}),
        )
    if own is None and call.started_ms <= purged_through_ms:
        return _turn_down(
            Code.FAILED_PRECONDITION,
            BarrierRefusal.FORGOTTEN,
            "the saga is older than what is remembered here",
        )
    if is_action and rows.compensation is not None:
        return _turn_down(
            Code.FAILED_PRECONDITION,
            BarrierRefusal.STEP_COMPENSATED,
            f"step {call.step} is compensated already",
        )
    if own is not None and own.digest != digest:
        return _turn_down(
            Code.ABORTED,
            BarrierRefusal.PAYLOAD_MISMATCH,
            "the same step was called with another request before",
        )
    if own is not None and own.state is not State.PENDING:
        return Replay(own)
    if is_action:
        return RunHandler(is_repeat=own is not None)
    return _compensate(rows.action, is_repeat=own is not None, now_ms=now_ms)


def records_refusal(call: SagaCall) -> bool:
    """Whether a `Declined` of this call is an outcome.

    Compensations and retriable steps are repeated until they succeed, so theirs is not.
    """
    return call.direction is Direction.ACTION and call.kind is not StepKind.RETRIABLE


def _compensate(action: BarrierRow | None, *, is_repeat: bool, now_ms: int) -> BarrierDecision:
    if action is None or action.state is State.REFUSED:
        return RecordEmpty()
    if action.state is not State.PENDING:
        return RunHandler(is_repeat, ActionState.DONE)
    if now_ms <= action.not_after_ms:
        return TurnDown(unsettled((action.not_after_ms + 1 - now_ms) / 1000))
    return RunHandler(is_repeat, ActionState.UNKNOWN)


def unsettled(retry_after_s: float) -> RpcError:
    """For a compensation whose action is PENDING: it is not known yet what there is to undo."""
    return RpcError(
        Code.UNAVAILABLE, "the action of this step is not settled", retry_after_s=max(0.0, retry_after_s)
    )


def _turn_down(
    code: Code, reason: BarrierRefusal, message: str, metadata: Mapping[str, str] | None = None
) -> TurnDown:
    return TurnDown(RpcError(code, message, reason=str(reason), domain=DOMAIN, metadata=metadata))
