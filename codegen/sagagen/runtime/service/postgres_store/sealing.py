"""What the barrier's rows hold, in the clear or encrypted, as the vault of the database says.

A row says of itself which it is: what was written before there were keys stays readable. Where replicas are started
with keys one after the other, one that has none yet, or lacks the newest, can't read what others wrote: its callers
are told to try again, and reach another one.
"""

from typing import TYPE_CHECKING, NamedTuple

from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import Record
from sagagen.runtime.service.barrier.rules import BarrierRow, State, TurnDown
from sagagen.runtime.service.call import Row

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

AGAIN_S = 1.0
"""When to try again a call that this process has no key for, in seconds."""


class Kept(NamedTuple):
    """What a row keeps of a record."""

    digest: bytes
    outcome: bytes
    is_sealed: bool = False
    kek: str | None = None
    wrapped: bytes | None = None


class Sealing:
    """Of one service's barrier."""

    def __init__(self, vault: "Vault | None" = None) -> None:
        self._vault = vault

    def kept(self, record: Record) -> Kept:
        """The digest is sealed by the database's own key: a repeat is known though the saga's data are erased."""
        if self._vault is None:
            return Kept(record.digest, record.outcome)
        call = record.call
        place = _place(call, str(call.direction))
        digest = self._vault.own.seal(place, record.digest)
        if record.state not in (State.DONE, State.REFUSED):  # the others have no outcome
            return Kept(digest, record.outcome, is_sealed=True)
        key, wrapped = self._vault.begin(place)
        return Kept(digest, key.seal(str(record.state), record.outcome), True, self._vault.first, wrapped)

    def opened(self, call: SagaCall, row: Row) -> BarrierRow | TurnDown:
        """A row of the call's step; or why the call can't be decided here."""
        digest, outcome = row["digest"], row["outcome"]
        if row["sealed"]:
            kek, wrapped = row["kek"], row["wrapped"]
            if self._vault is None or (kek is not None and not self._vault.knows(kek)):
                message = "this process was not started with the key of what is recorded of this call"
                return TurnDown(RpcError(Code.UNAVAILABLE, message, retry_after_s=AGAIN_S))
            place = _place(call, row["direction"])
            try:
                digest = self._vault.own.open(place, digest)
                if wrapped is not None and outcome:
                    outcome = self._vault.unwrap(kek, wrapped, place).open(row["state"], outcome)
            except ValueError as error:
                message = f"what is recorded of this call can't be read: {error}"
                return TurnDown(RpcError(Code.DATA_LOSS, message))
        return BarrierRow(row["run"], digest, State(row["state"]), outcome, row["not_after_ms"])


def _place(call: SagaCall, direction: str) -> str:
    return f"{call.saga_id} {direction} {call.step}"
