"""Errors, each with another reaction, and their form on the wire (google.rpc.Status with details)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpclib.const import Status as Code

DetailT = TypeVar("DetailT", bound=Message)

DOMAIN = "sagagen"
"""ErrorInfo.domain of the runtime's own refusals; retry rules never apply to them (semantics of the barrier)."""

MAX_VIOLATIONS = 20
"""Nobody is told of more: the rest of a bad request is as bad as its start."""

_REASON = re.compile(r"_*[A-Z0-9][A-Z0-9_]*")


def is_reason(text: str) -> bool:
    """Whether it is an UPPER_SNAKE token, as ErrorInfo.reason is to be."""
    return _REASON.fullmatch(text) is not None


_HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")


def sendable(text: str) -> str:
    """The text with U+FFFD for what no encoding has: half of a surrogate pair, which json.loads makes of "\\ud800".

    A refusal is one whatever its words are: it must not fail for them when it is recorded or sent.
    """
    return text if text.isascii() else _HALF_OF_A_PAIR.sub("\ufffd", text)


class Declined(Exception):
    """A business "no" of a handler: not retried, recorded by the barrier, and the saga turns back.

    `reason` is an UPPER_SNAKE token that other programs may rely on; `message` is for people.
    """

    def __init__(self, reason: str, message: str = "") -> None:
        if not is_reason(reason):
            raise ValueError(f"a reason is an UPPER_SNAKE token, for example OUT_OF_STOCK, not {reason!r}")
        message = sendable(message)
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message


class ExpressionError(Exception):
    """A value of the contract can't be computed: overflow, division by zero, an index out of range, ..."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One rule that a request breaks: google.rpc.BadRequest's terms."""

    field: str
    """Path, for example `items[0].quantity`."""
    description: str
    rule: str = ""
    """protovalidate's rule id, for example `int32.gt`."""


class RpcError(Exception):
    """A call that did not succeed, as gRPC tells it; what a transport raises and a service host answers."""

    def __init__(
        self,
        code: Code,
        message: str = "",
        *,
        reason: str = "",
        domain: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        violations: Iterable[FieldViolation] = (),
    ) -> None:
        message, reason = sendable(message), sendable(reason)
        super().__init__(f"{code.name}: {reason}: {message}" if reason else f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.domain = sendable(domain)
        self.metadata = (
            {sendable(name): sendable(value) for name, value in metadata.items()} if metadata else {}
        )
        self.retry_after_s = retry_after_s
        self.violations = tuple(map(_sendable, violations))

    @property
    def is_refusal(self) -> bool:
        """The service recorded a business refusal (Declined): proof that nothing happened and nothing will."""
        return self.metadata.get(OUTCOME_KEY) == REFUSED

    @property
    def is_declined(self) -> bool:
        """The handler declined where no refusal is recorded: it says no now, and may say yes to the next attempt."""
        return self.metadata.get(OUTCOME_KEY) == DECLINED

    @property
    def is_ours(self) -> bool:
        """The runtime's own answer (EXPIRED, OTHER_RUN, FORGOTTEN, ...), not the handler's."""
        return self.domain == DOMAIN

    def to_status(self) -> status_pb2.Status:
        """As google.rpc.Status, for `grpc-status-details-bin`."""
        status = status_pb2.Status(code=self.code.value, message=self.message)
        if self.reason:
            _pack(
                status,
                error_details_pb2.ErrorInfo(reason=self.reason, domain=self.domain, metadata=self.metadata),
            )
        if self.retry_after_s is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(self.retry_after_s * 1e9))
            _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
        if self.violations:
            bad = error_details_pb2.BadRequest()
            for violation in self.violations:
                bad.field_violations.add(
                    field=violation.field, description=violation.description, reason=violation.rule
                )
            _pack(status, bad)
        return status

    @classmethod
    def from_status(cls, code: Code, message: str, details: bytes | None) -> "RpcError":
        """From what came over the wire; details that can't be read are left out, since any proxy may have sent them."""
        status = status_pb2.Status()
        try:
            status.ParseFromString(details or b"")
            info = _first(status, error_details_pb2.ErrorInfo()) or error_details_pb2.ErrorInfo()
            retry = _first(status, error_details_pb2.RetryInfo())
            bad = _first(status, error_details_pb2.BadRequest()) or error_details_pb2.BadRequest()
        except DecodeError:
            return cls(code, message)
        return cls(
            code,
            message,
            reason=info.reason,
            domain=info.domain,
            metadata=dict(info.metadata),
            retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if retry else None,
            violations=(FieldViolation(v.field, v.description, v.reason) for v in bad.field_violations),
        )


class NoAnswer(RpcError):
    """Nothing came back: the call may have been made, or not. An error without this is the service's own answer."""


class NotReached(NoAnswer):
    """No connection could be made, so nothing of the call was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


def _sendable(violation: FieldViolation) -> FieldViolation:
    texts = (violation.field, violation.description, violation.rule)
    return violation if all(map(str.isascii, texts)) else FieldViolation(*map(sendable, texts))


OUTCOME_KEY = "sagagen-outcome"
"""Key in ErrorInfo.metadata that says what the barrier recorded."""
REFUSED = "REFUSED"
DECLINED = "DECLINED"


def refused(reason: str, message: str, *, domain: str) -> RpcError:
    """The wire form of a Declined that the barrier recorded."""
    return RpcError(
        Code.FAILED_PRECONDITION, message, reason=reason, domain=domain, metadata={OUTCOME_KEY: REFUSED}
    )


def _pack(status: status_pb2.Status, detail: Message) -> None:
    packed: any_pb2.Any = status.details.add()
    packed.Pack(detail)


def _first(status: status_pb2.Status, detail: DetailT) -> DetailT | None:
    """The first detail of this type, read into `detail`; None if there is none. Raises DecodeError for a broken one."""
    return detail if any(each.Unpack(detail) for each in status.details) else None
