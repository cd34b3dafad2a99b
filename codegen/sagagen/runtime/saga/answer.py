"""The HTTP answer to the request that started a saga: stored with the row that decides it, replayed as stored."""

from dataclasses import dataclass
from typing import Protocol

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.scope import Failure


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body, as they leave and as every replay repeats them."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Empty if there is none; `name` in lower case."""
        return next((value for each, value in self.headers if each == name), "")


class Responder(Protocol):
    """Makes answers; the edge implements it. Pure: the same arguments give the same answer, also after a restart."""

    def success(self, saga: Saga, saga_id: str, body: bytes, trace_id: str) -> Answer:
        """The answering step is done. `body` is the encoded response of the trigger."""
        ...

    def failure(self, saga: Saga, saga_id: str, failure: Failure, trace_id: str, *, refused: bool) -> Answer:
        """The saga turned back. `refused`: a service said no (4xx); otherwise the infrastructure failed (502)."""
        ...

    def superseded(
        self, saga: Saga, saga_id: str, trace_id: str, *, owner_run: str, is_other_payload: bool
    ) -> Answer:
        """Another gateway's run owns this saga, this one had no effect: 409 SAGA_ELSEWHERE.

        `owner_run` is that run, as far as a service has told it.

        `is_other_payload`: that run was started with another payload, so the key was used twice: 422.
        """
        ...
