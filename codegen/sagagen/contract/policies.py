"""How long calls may take and how they are repeated: a step's own settings, then the file's defaults, then ours."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

from grpclib.const import Status

from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.contract.located import Located
from sagagen.contract.policy_shape import PolicyShape, RetryShape
from sagagen.contract.security_shape import ConnectionsShape
from sagagen.contract.shape import DefaultsShape, LimitsShape
from sagagen.diagnostics import Diagnostic, Report
from sagagen.runtime.model.definition import RETRIED_BY_DEFAULT, Limits, Retry, StepKind
from sagagen.source import Span

T = TypeVar("T")

NO_SETTINGS = PolicyShape()
GIVE_UP_AFTER_S = 86400.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Of one call."""

    timeout_s: float
    retry: Retry
    timeout_span: Span | None
    """Where the time-out is set; None for our own default."""


BUILT_IN_STEP = Policy(2.0, Retry(initial_s=0.05, multiplier=2.0, max_s=2.0), None)
BUILT_IN_COMPENSATION = Policy(
    5.0, Retry(initial_s=0.1, multiplier=2.0, max_s=30.0, give_up_after_s=GIVE_UP_AFTER_S), None
)


@dataclass(frozen=True, slots=True)
class Policies:
    step: Policy
    compensation: Policy
    """Also for retriable steps: like compensations, they are repeated until they are done or the budget is spent. The
    budget is the pivot's too."""

    def of_step(self, own: PolicyShape, kind: StepKind) -> Policy:
        if kind is StepKind.RETRIABLE:
            return merge(own, self.compensation)
        policy = merge(own, self.step)
        return self._of_pivot(policy) if kind is StepKind.PIVOT else policy

    def _of_pivot(self, policy: Policy) -> Policy:
        """Once attempted it is repeated until it is done or refused, or its budget is spent.

        What the default for steps says of attempts and codes is not for it.
        """
        retry = policy.retry
        repeated = Retry(
            initial_s=retry.initial_s,
            multiplier=retry.multiplier,
            max_s=retry.max_s,
            give_up_after_s=retry.give_up_after_s or self.compensation.retry.give_up_after_s,
            codes=RETRIED_BY_DEFAULT,
        )
        return Policy(policy.timeout_s, repeated, policy.timeout_span)

    def of_compensation(self, own: PolicyShape) -> Policy:
        return merge(own, self.compensation)


def resolve_limits(shape: LimitsShape | None, connections: ConnectionsShape | None) -> Limits:
    """What the file sets, and our own defaults for the rest. `connections`: of `security.limits`."""
    written = {field.name: getattr(shape, field.name) for field in fields(Limits) if shape is not None}
    if connections is not None:
        written["max_connections"] = connections.total or written.get("max_connections")
        per_address = connections.per_address or written.get("max_connections_per_address")
        written["max_connections_per_address"] = per_address
    return Limits(**{name: limit.value for name, limit in written.items() if limit is not None})


def resolve_policies(defaults: DefaultsShape | None, report: Report) -> Policies:
    step = (defaults and defaults.step) or NO_SETTINGS
    compensation = (defaults and defaults.compensation) or NO_SETTINGS
    for problem in (
        *check_step_policy(step, StepKind.COMPENSATABLE),
        *check_compensation_policy(compensation),
    ):
        report(problem)
    return Policies(merge(step, BUILT_IN_STEP), merge(compensation, BUILT_IN_COMPENSATION))


def merge(own: PolicyShape, base: Policy) -> Policy:
    retry = own.retry or RetryShape()
    merged = Retry(
        initial_s=_or(retry.initial, base.retry.initial_s),
        multiplier=_or(retry.multiplier, base.retry.multiplier),
        max_s=_or(retry.max, base.retry.max_s),
        max_attempts=_or_none(retry.max_attempts, base.retry.max_attempts),
        give_up_after_s=_or_none(retry.give_up_after, base.retry.give_up_after_s),
        codes=base.retry.codes
        if retry.codes is None
        else frozenset(Status[code.value] for code in retry.codes),
    )
    span = own.timeout.span if own.timeout is not None else base.timeout_span
    return Policy(_or(own.timeout, base.timeout_s), merged, span)


def _or(own: Located[T] | None, base: T) -> T:
    return base if own is None else own.value


def _or_none(own: Located[T] | None, base: T | None) -> T | None:
    return base if own is None else own.value


def check_step_policy(own: PolicyShape, kind: StepKind) -> Iterator[Diagnostic]:
    if kind is StepKind.RETRIABLE:
        yield from check_compensation_policy(own, "a retriable step")
        return
    retry = own.retry or RetryShape()
    yield from _check_backoff(retry)
    if retry.give_up_after is not None and kind is StepKind.COMPENSATABLE:
        why = "it is repeated until the saga's deadline"
        yield _idle("give_up_after", retry.give_up_after.span, f"a {kind} step", why)
    if kind is StepKind.PIVOT:
        yield from _check_limits(retry, "a pivot", PIVOT_REPEATS)


PIVOT_REPEATS = (
    "a pivot with an unknown outcome is repeated until it is done or refused; give_up_after limits that"
)


def check_compensation_policy(own: PolicyShape, what: str = "a compensation") -> Iterator[Diagnostic]:
    retry = own.retry or RetryShape()
    yield from _check_backoff(retry)
    yield from _check_limits(retry, what, "it is repeated until it succeeds; give_up_after limits that")


def _check_limits(retry: RetryShape, what: str, why: str) -> Iterator[Diagnostic]:
    if retry.max_attempts is not None:
        yield _idle("max_attempts", retry.max_attempts.span, what, why)
    if retry.codes:
        yield _idle("codes", retry.codes[0].span, what, why)


def _idle(key: str, at: Span, what: str, why: str) -> Diagnostic:
    return error(at, Code.IDLE_RETRY_SETTING, f'"{key}" has no effect on {what}: {why}', f"remove {key}")


def _check_backoff(retry: RetryShape) -> Iterator[Diagnostic]:
    if retry.initial is not None and retry.max is not None and retry.initial.value > retry.max.value:
        first, longest = f"{retry.initial.value:g}s", f"{retry.max.value:g}s"
        message = f"retry.initial, the first wait ({first}), is longer than retry.max ({longest})"
        yield error(retry.initial.span, Code.BACKOFF_SHRINKS, message, "make initial the smaller of the two")
