"""Names of sagas and runs: derived from the idempotency key where there is one, random where there is none."""

import hashlib
import re
import secrets
from random import Random
from uuid import UUID, uuid5

NAMESPACE = UUID("6f0d3f0e-8c55-5d0b-9d0c-4b6f2f5c6a1e")
"""Of every saga id. Changing it would give every known key a second saga."""

ANONYMOUS = "anonymous"
"""The caller where nobody says who calls; an index of the log leaves its sagas out."""
DIRECT = "direct:"
"""Prefix of the ids of writes that no saga makes."""


def saga_id(project: str, caller: str, trigger: str, key: str) -> str:
    """The saga that `key` of `caller` names: equal arguments, equal id, on every gateway (UUIDv5).

    `trigger` is the rpc's path. Each part stands with its length, so that no two lists of parts read the same.
    """
    return str(uuid5(NAMESPACE, _joined(project, caller, trigger, key)))


def direct_id(caller: str, trigger: str, key: str) -> str:
    """What stands for the saga id in a write that is called directly, outside any saga."""
    return DIRECT + hashlib.sha256(_joined(caller, trigger, key).encode()).hexdigest()


def random_saga_id(at_ms: int, random: Random | None = None) -> str:
    """For a trigger without a key: UUIDv7 (RFC 9562, section 5.7), so that ids sort by time; `at_ms` is Unix time."""
    bits = random.getrandbits(74) if random else secrets.randbits(74)
    value = (at_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    return str(UUID(int=value))


_SAGA_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_saga_id(text: str) -> bool:
    """Whether a saga may have this id: all of them are UUIDs, in lower case."""
    return _SAGA_ID.fullmatch(text) is not None


def fingerprint_of(rpc: str, data: bytes) -> bytes:
    """Names what was asked for: the rpc and its request in deterministic form, however the JSON was spelled."""
    path = rpc.encode()
    return hashlib.sha256(b"%d:%b%b" % (len(path), path, data)).digest()


def run_id(random: Random) -> str:
    """Names one acceptance of a saga: 64 random bits as 16 hex digits."""
    return f"{random.getrandbits(64):016x}"


def owner_digest(saga_id: str, run: str) -> str:
    """What others are told of the run that owns a saga: 32 hex digits, from which the run's 64 bits can't be had.

    Who knows a run can act in its name; who knows this can only look for what its gateway shares under it.
    """
    return hashlib.sha256(_joined("owner", saga_id, run).encode()).hexdigest()[:32]


def _joined(*parts: str) -> str:
    return "".join(f"{len(part.encode())}:{part}" for part in parts)
