"""The gRPC metadata of a saga's call: what the barrier of the called service decides from."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from sagagen.runtime.model.definition import MAX_KEY_LENGTH, Direction, StepKind, direction_of, kind_of

IDEMPOTENCY_KEY = "idempotency-key"
SAGA_ID = "sagagen-saga-id"
RUN = "sagagen-run"
STARTED = "sagagen-started"
STEP = "sagagen-step"
KIND = "sagagen-kind"
DIRECTION = "sagagen-direction"
ATTEMPT = "sagagen-attempt"
NOT_AFTER = "sagagen-not-after"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
REPLAYED = "sagagen-replayed"
"""Trailing metadata: `true` when the answer is a recorded one."""


class SagaCall(NamedTuple):
    """One attempt of a step's action or compensation."""

    saga_id: str
    run: str
    """16 hex digits: 64 random bits of the acceptance."""
    started_ms: int
    """Engine's wall clock at acceptance, ms since the epoch."""
    step: str
    kind: StepKind
    direction: Direction
    attempt: int
    """Starts at 1."""
    not_after_ms: int
    """Wall clock, ms: after it the service must not begin this call any more."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and every restart: fit to be handed to a third party."""
        return f"{self.saga_id}/{self.step}/{self.direction}"

    def to_metadata(self) -> dict[str, str]:
        return {
            IDEMPOTENCY_KEY: self.idempotency_key,
            SAGA_ID: self.saga_id,
            RUN: self.run,
            STARTED: str(self.started_ms),
            STEP: self.step,
            KIND: str(self.kind),
            DIRECTION: str(self.direction),
            ATTEMPT: str(self.attempt),
            NOT_AFTER: str(self.not_after_ms),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "SagaCall | None":
        """None if this is no saga's call. Raises ValueError naming the entry that is missing or broken in one.

        Anybody may have written it: what is returned is safe to be stored, logged and shown.
        """
        if SAGA_ID not in metadata:
            if stray := next((name for name in _FORMS if name in metadata), ""):
                raise ValueError(f"{stray} without {SAGA_ID}: a saga's call has both")
            return None
        try:
            saga_id, run, started = metadata[SAGA_ID], metadata[RUN], metadata[STARTED]
            attempt, not_after = metadata[ATTEMPT], metadata[NOT_AFTER]
            step, kind, direction = metadata[STEP], metadata[KIND], metadata[DIRECTION]
        except KeyError:
            raise ValueError(_what_is_broken(metadata)) from None
        names = f"{saga_id}\n{run}\n{started}\n{attempt}\n{not_after}"
        if not (_OF_ITS_OWN.fullmatch(names) and _is_of_a_contract(step, kind, direction)):
            raise ValueError(_what_is_broken(metadata))
        return cls(
            saga_id,
            run,
            int(started),
            step,
            kind_of(kind),
            direction_of(direction),
            int(attempt),
            int(not_after),
        )


_NAME = r"[0-9A-Za-z_-]{1,64}"
_MS = r"(?:0|[1-9][0-9]{0,14})"
"""Milliseconds until the year 33658, well within SQLite's integers."""
_FORMS = {
    SAGA_ID: _NAME,
    RUN: _NAME,
    STEP: r"[0-9A-Za-z_-]{1,128}",
    STARTED: _MS,
    ATTEMPT: r"[1-9][0-9]{0,8}",
    NOT_AFTER: _MS,
    KIND: "|".join(StepKind),
    DIRECTION: "|".join(Direction),
}
"""What each entry of a saga's call looks like."""
_OF_ITS_OWN = re.compile("\n".join(_FORMS[name] for name in (SAGA_ID, RUN, STARTED, ATTEMPT, NOT_AFTER)))
"""What differs from call to call, in one go: every call of every saga is looked at."""
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY_LENGTH}}}")
_SHOWN = 40
"""Characters of a broken value that are repeated to whoever sent it."""


def direct_key(metadata: Mapping[str, str]) -> str:
    """The idempotency key of a call that no saga makes; empty if there is none. Raises ValueError for a broken one."""
    key = metadata.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise ValueError(f"{IDEMPOTENCY_KEY} is 1 to {MAX_KEY_LENGTH} characters of printable ASCII")
    return key or ""


@lru_cache(maxsize=1024)
def _is_of_a_contract(step: str, kind: str, direction: str) -> bool:
    """What a contract has a few of."""
    texts = {STEP: step, KIND: kind, DIRECTION: direction}
    return all(re.fullmatch(_FORMS[name], text) for name, text in texts.items())


def _what_is_broken(metadata: Mapping[str, str]) -> str:
    for name, form in _FORMS.items():
        if name not in metadata:
            return f"a saga's call needs the metadata entry {name}"
        if not re.fullmatch(form, metadata[name]):
            return f"the metadata entry {name} can't be {metadata[name][:_SHOWN]!a}"
    raise AssertionError("the entries match together if each does by itself")
