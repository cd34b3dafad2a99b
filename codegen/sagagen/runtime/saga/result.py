"""A saga's result: how it answers whoever started it. Stored with the row that decides it, and the same ever after.

A result says what came of the saga, in the contract's terms. What HTTP makes of it is the edge's: the same result gives
the same answer, the first time and at every replay.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

from sagagen.runtime.scope import Failure


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The answering step is done."""

    status: int
    """The contract's `respond.status`."""
    message_type: str
    """Full name of the trigger's response."""
    message: bytes
    """That response, encoded."""


@dataclass(frozen=True, slots=True)
class Unsuccessful:
    """The saga turned back."""

    failure: Failure
    is_refused: bool
    """A service said no; otherwise the infrastructure failed."""
    is_cancelled: bool = False
    """A client cancelled it; `failure.reason` is what the contract calls that."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another gateway's run owns the saga; this one had no effect."""

    owner_run: str
    """The digest of that run (`identity.owner_digest`), as a service told it; empty if none did."""
    is_other_payload: bool
    """That run was started with another payload, so the key was used twice."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What earlier versions stored instead of a result: the HTTP answer itself, which replays repeat as it is."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Hidden:
    """There is a result, and it can't be read: the saga's data were erased, or their key is not given. Never stored."""


SagaResult = Succeeded | Unsuccessful | Superseded | StoredAnswer | Hidden

Column = TypeVar("Column")

Columns = tuple[int | None, str, bytes | None]
"""`answer_status`, `answer_headers` and `answer_body`, named for what StoredAnswer puts there. Of a result, the second
is a JSON object that says its kind and all that is text; of a StoredAnswer it is a list."""


def to_columns(result: SagaResult) -> Columns:
    """A result as it is stored."""
    match result:
        case Succeeded():
            return result.status, _success(result.message_type), result.message
        case Unsuccessful(failure, is_refused, is_cancelled):
            members = {"kind": "UNSUCCESSFUL", "is_refused": is_refused, "failure": _members(failure)}
            if is_cancelled:
                members["is_cancelled"] = True
            return None, _json(members), None
        case Superseded(owner_run, is_other_payload):
            members = {"kind": "SUPERSEDED", "owner_run": owner_run, "is_other_payload": is_other_payload}
            return None, _json(members), None
        case StoredAnswer():
            return result.status, _json(result.headers), result.body
        case Hidden():
            raise ValueError("a result that can't be read can't be stored")


def of_columns(status: int | None, text: str, body: bytes | None) -> SagaResult:
    """A result that was stored. Raises KeyError, TypeError or ValueError for what no version of ours has stored."""
    stored: Any = json.loads(text)
    if isinstance(stored, list):
        return _stored_answer(status, cast(list[tuple[str, str]], stored), body)
    match stored["kind"]:
        case "SUCCEEDED":
            return Succeeded(_present(status), stored["type"], _present(body))
        case "UNSUCCESSFUL":
            return Unsuccessful(
                Failure(*stored["failure"]), stored["is_refused"], stored.get("is_cancelled", False)
            )
        case "SUPERSEDED":
            return Superseded(stored["owner_run"], stored["is_other_payload"])
        case "HIDDEN":
            return Hidden()
        case other:
            raise ValueError(f"a result of the unknown kind {other}")


def _stored_answer(status: int | None, headers: list[tuple[str, str]], body: bytes | None) -> StoredAnswer:
    return StoredAnswer(_present(status), tuple((name, value) for name, value in headers), _present(body))


def _present(column: Column | None) -> Column:
    if column is None:
        raise ValueError("a result without its status or its message")
    return column


@cache
def _success(message_type: str) -> str:
    # Once for each trigger, and not once for each saga.
    return _json({"kind": "SUCCEEDED", "type": message_type})


def _members(failure: Failure) -> list[str]:
    return [failure.code, failure.reason, failure.message, failure.step]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
