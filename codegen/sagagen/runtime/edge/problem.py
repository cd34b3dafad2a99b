"""What went wrong, in HTTP's terms: problem documents (RFC 9457) and grpc-gateway's table of status codes."""

import http
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from grpclib.const import Status as Code

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.escaping import escaped_json
from sagagen.runtime.rpc.errors import MAX_VIOLATIONS, FieldViolation, RpcError

PROBLEM_JSON = "application/problem+json"
COMPENSATED = "SAGA_COMPENSATED"
"""Reason of the answer to a saga that was undone because a service could not be reached, or did not say no itself."""
RETRY_AFTER_S = 1.0
"""Time in seconds after which a client may repeat a request, where the service names none."""

CANCELLED_STATUS = 409
"""Of the answer to a saga that a client cancelled; its `reason` is what the contract calls that."""

HTTP_STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.OK: 200,
        Code.CANCELLED: 499,
        Code.UNKNOWN: 500,
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.UNAUTHENTICATED: 401,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 400,
        Code.ABORTED: 409,
        Code.OUT_OF_RANGE: 400,
        Code.UNIMPLEMENTED: 501,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.DATA_LOSS: 500,
    }
)
"""grpc-gateway's HTTPStatusFromCode."""

_CHALLENGE = ("www-authenticate", 'Bearer realm="gateway"')
"""What a 401 has to say (RFC 9110, 15.5.2), where whoever refused has not said it: a caller hook, or a service."""
_PHRASES = MappingProxyType({499: "Client Closed Request"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document. Its `type` is always about:blank: programs branch on `reason`, people read `detail`."""

    status: int
    code: str
    """gRPC code name, for example `INVALID_ARGUMENT`."""
    reason: str
    """UPPER_SNAKE token, stable."""
    detail: str
    saga_id: str = ""
    trace_id: str = ""
    step: str = ""
    """The saga's step that failed."""
    violations: Sequence[FieldViolation] = ()
    headers: tuple[tuple[str, str], ...] = ()
    """Sent beside the document, for example Retry-After or Allow."""

    def answer(self) -> Answer:
        headers = (("content-type", PROBLEM_JSON), *self.headers)
        if self.status == 401 and all(name.lower() != _CHALLENGE[0] for name, _ in headers):
            headers = (*headers, _CHALLENGE)
        return Answer(self.status, headers, self.body())

    def body(self) -> bytes:
        """The document; members that say nothing are left out."""
        members: dict[str, object] = {
            "type": "about:blank",
            "title": phrase(self.status),
            "status": self.status,
        }
        for name in ("detail", "code", "reason", "step", "saga_id", "trace_id"):
            if value := getattr(self, name):
                members[name] = value
        if self.violations:
            members["violations"] = [_member(violation) for violation in self.violations[:MAX_VIOLATIONS]]
        # A client's own text may hold half a surrogate pair; escaped, it is still the JSON that it was.
        return escaped_json(json.dumps(members, ensure_ascii=False)).encode()

    def in_trace(self, trace_id: str) -> "Problem":
        """The same problem, with this trace id unless it has one."""
        return self if self.trace_id else replace(self, trace_id=trace_id)

    def of_saga(self, saga_id: str, trace_id: str, step: str = "") -> "Problem":
        return replace(self, saga_id=saga_id, trace_id=trace_id, step=step)


class ProblemError(Exception):
    """Ends a request with this problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.reason}: {problem.detail}")
        self.problem = problem


def phrase(status: int) -> str:
    """The title of a status code: `404` is "Not Found"."""
    try:
        return _PHRASES.get(status) or http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def retry_after(seconds: float = RETRY_AFTER_S) -> tuple[str, str]:
    """The header, in whole seconds and at least one (RFC 9110, 10.2.3)."""
    return "retry-after", str(max(1, math.ceil(seconds)))


def invalid(reason: str, detail: str, violations: Sequence[FieldViolation] = ()) -> ProblemError:
    """A request that can't be understood: 400."""
    return ProblemError(Problem(400, "INVALID_ARGUMENT", reason, detail, violations=tuple(violations)))


def broken_rules(reason: str, violations: Sequence[FieldViolation]) -> ProblemError:
    """A request whose fields are wrong: 400 with one entry for each."""
    shown = "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations[:3])
    more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
    return invalid(reason, shown + more, violations)


def from_rpc_error(error: RpcError) -> Problem:
    """What a service answered, by grpc-gateway's table."""
    is_temporary = error.code is Code.UNAVAILABLE or error.retry_after_s is not None
    return Problem(
        HTTP_STATUS.get(error.code, 500),
        error.code.name,
        error.reason or error.code.name,
        error.message,
        violations=error.violations,
        headers=(retry_after(error.retry_after_s or RETRY_AFTER_S),) if is_temporary else (),
    )


def _member(violation: FieldViolation) -> dict[str, str]:
    member = {"field": violation.field, "description": violation.description}
    return {**member, "rule": violation.rule} if violation.rule else member
