"""The gRPC metadata of a saga's call: what the barrier of the called service decides from."""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from sagagen.runtime.model.definition import MAX_CALLER_BYTES, MAX_KEY_LENGTH, Direction, StepKind
from sagagen.runtime.rpc.caller_claims import CLAIMS, claims_entry, claims_told
from sagagen.runtime.rpc.texts import decoded, encoded

IDEMPOTENCY_KEY = "idempotency-key"
SAGA_ID = "sagagen-saga-id"
RUN = "sagagen-run"
STARTED = "sagagen-started"
STEP = "sagagen-step"
KIND = "sagagen-kind"
DIRECTION = "sagagen-direction"
ATTEMPT = "sagagen-attempt"
NOT_AFTER = "sagagen-not-after"
CALLER = "sagagen-caller"
"""On whose behalf the gateway calls. Left out where that is nobody."""
MAC = "sagagen-mac"
"""By whom the call is made, and that nobody has altered it (`trust/mac.py`)."""
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
REPLAYED = "sagagen-replayed"
"""Trailing metadata: `true` when the answer is a recorded one."""

CLAIM = "~claim"
"""The step by which a saga claims its id (`rpc.claim`); no contract can have one of that name."""
MAX_ITEM_KEY_BYTES = 128
"""Of the key in a step like `reserve[margherita]`, in UTF-8."""


class SagaCall(NamedTuple):
    """One attempt of a step's action or compensation."""

    saga_id: str
    run: str
    """16 hex digits: 64 random bits of the acceptance."""
    started_ms: int
    """Engine's wall clock at acceptance, ms since the epoch."""
    step: str
    """Its name; of a loop's iteration with the item's key: `reserve[margherita]`."""
    kind: StepKind
    direction: Direction
    attempt: int
    """Starts at 1."""
    not_after_ms: int
    """Wall clock, ms: after it the service must not begin this call any more."""
    caller: str = ""
    """Who started the saga, as the gateway's authentication says; empty if the gateway did not say."""
    claims: str = ""
    """What is known of the caller besides, as canonical JSON (`caller_claims.py`); empty if nothing is."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and every restart: fit to be handed to a third party.

        Visible ASCII, and at most MAX_KEY_LENGTH characters: the step is percent-encoded, or where that is too long
        its SHA-256.
        """
        step = encoded(self.step)
        key = f"{self.saga_id}/{step}/{self.direction}"
        if len(key) <= MAX_KEY_LENGTH:
            return key
        return f"{self.saga_id}/{sha256(step.encode()).hexdigest()}/{self.direction}"

    def to_metadata(self) -> dict[str, str]:
        metadata = {
            IDEMPOTENCY_KEY: self.idempotency_key,
            SAGA_ID: self.saga_id,
            RUN: self.run,
            STARTED: str(self.started_ms),
            STEP: encoded(self.step),
            KIND: str(self.kind),
            DIRECTION: str(self.direction),
            ATTEMPT: str(self.attempt),
            NOT_AFTER: str(self.not_after_ms),
        }
        if caller := _told(self.caller):
            metadata[CALLER] = caller
        if self.claims:
            metadata[CLAIMS] = claims_entry(self.claims)
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "SagaCall | None":
        """None if this is no saga's call. Raises ValueError naming the entry that is missing or broken in one.

        Anybody may have written it: what is returned is safe to be stored, logged and shown.
        """
        if SAGA_ID not in metadata:
            if stray := next((name for name in _NEEDED if name in metadata), ""):
                raise ValueError(f"{stray} without {SAGA_ID}: a saga's call has both")
            return None
        try:
            saga_id, run, started = metadata[SAGA_ID], metadata[RUN], metadata[STARTED]
            attempt, not_after = metadata[ATTEMPT], metadata[NOT_AFTER]
            kind, direction = _KINDS[metadata[KIND]], _DIRECTIONS[metadata[DIRECTION]]
            step = _step_of(metadata[STEP])
        except KeyError:
            raise ValueError(_what_is_broken(metadata)) from None
        names = f"{saga_id}\n{run}\n{started}\n{attempt}\n{not_after}"
        if step is None or not _OF_ITS_OWN.fullmatch(names):
            raise ValueError(_what_is_broken(metadata))
        caller = called_by(metadata) if CALLER in metadata else ""
        claims = claims_told(metadata) if CLAIMS in metadata else ""
        return cls(
            saga_id, run, int(started), step, kind, direction, int(attempt), int(not_after), caller, claims
        )


_NAME = r"[0-9A-Za-z_-]{1,64}"
_MS = r"(?:0|[1-9][0-9]{0,14})"
"""Milliseconds until the year 33658, well within SQLite's integers."""
_FORMS = {
    SAGA_ID: _NAME,
    RUN: _NAME,
    STARTED: _MS,
    ATTEMPT: r"[1-9][0-9]{0,8}",
    NOT_AFTER: _MS,
    KIND: "|".join(StepKind),
    DIRECTION: "|".join(Direction),
}
"""What entries of a saga's call look like."""
_NEEDED = (*_FORMS, STEP)
# Of their values as they stand: an enum looks a member up in Python, and every call of a saga does so several times.
_KINDS: Mapping[str, StepKind] = {str(kind): kind for kind in StepKind}
_DIRECTIONS: Mapping[str, Direction] = {str(direction): direction for direction in Direction}
_OF_ITS_OWN = re.compile("\n".join(_FORMS[name] for name in (SAGA_ID, RUN, STARTED, ATTEMPT, NOT_AFTER)))
"""What differs from call to call, in one go: every call of every saga is looked at."""
_STEP = re.compile(rf"([0-9A-Za-z_-]{{1,128}})(?:\[(.+)\])?|{CLAIM}", re.DOTALL)
_STEP_CHARACTERS = 128 + len("[]") + 3 * MAX_ITEM_KEY_BYTES
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY_LENGTH}}}")
_SHOWN = 40
"""Characters of a broken value that are repeated to whoever sent it."""


def direct_key(metadata: Mapping[str, str]) -> str:
    """The idempotency key of a call that no saga makes; empty if there is none. Raises ValueError for a broken one."""
    key = metadata.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise ValueError(f"{IDEMPOTENCY_KEY} is 1 to {MAX_KEY_LENGTH} characters of printable ASCII")
    return key or ""


def caller_metadata(caller: str, claims: str = "") -> dict[str, str]:
    """What tells a service on whose behalf it is called; `claims` are canonical.

    Nothing of a caller longer than MAX_CALLER_BYTES, which an earlier gateway may have let in: half of a name is
    somebody else's.
    """
    told = _told(caller)
    metadata = {CALLER: told} if told else dict[str, str]()
    if claims:
        metadata[CLAIMS] = claims_entry(claims)
    return metadata


@lru_cache(maxsize=1024)
def _told(caller: str) -> str:
    """What stands for a caller in metadata; empty where nothing does. The same one starts many sagas, of many calls."""
    return encoded(caller) if len(caller.encode()) <= MAX_CALLER_BYTES else ""


def called_by(metadata: Mapping[str, str]) -> str:
    """On whose behalf a call comes; empty if it does not say. Raises ValueError for a broken entry."""
    value = metadata.get(CALLER, "")
    caller = _short_caller_of(value) if len(value) <= 3 * MAX_CALLER_BYTES else None
    if caller is None:
        raise ValueError(f"{CALLER} is percent-encoded UTF-8 of at most {MAX_CALLER_BYTES} bytes")
    return caller


@lru_cache(maxsize=1024)
def _short_caller_of(value: str) -> str | None:
    """None for what stands for no caller."""
    caller = decoded(value)
    return caller if caller is not None and len(caller.encode()) <= MAX_CALLER_BYTES else None


def _step_of(value: str) -> str | None:
    """None for what is no step. What is too long to be one is not even kept in mind."""
    return _short_step_of(value) if len(value) <= _STEP_CHARACTERS else None


@lru_cache(maxsize=1024)
def _short_step_of(value: str) -> str | None:
    """A contract has a few of them, and its loops some more."""
    step = decoded(value)
    if step is None or not (match := _STEP.fullmatch(step)):
        return None
    key: str = match[2] or ""
    return step if key.isprintable() and len(key.encode()) <= MAX_ITEM_KEY_BYTES else None


def _what_is_broken(metadata: Mapping[str, str]) -> str:
    for name in _NEEDED:
        if name not in metadata:
            return f"a saga's call needs the metadata entry {name}"
        value = metadata[name]
        is_whole = _step_of(value) is not None if name == STEP else re.fullmatch(_FORMS[name], value)
        if not is_whole:
            return f"the metadata entry {name} can't be {value[:_SHOWN]!a}"
    raise AssertionError("the entries match together if each does by itself")
