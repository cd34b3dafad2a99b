"""What changed between two definitions of one version of a saga: its steps, and how each is undone and repeated."""

from collections.abc import Iterator, Mapping, Sequence

from sagagen.compatibility.change import Change, Reach, Rule, Target
from sagagen.compatibility.rules import compensations as compensation_rules
from sagagen.compatibility.rules import steps as step_rules
from sagagen.compatibility.rules import timing as timing_rules
from sagagen.contract.model import Call, Saga, Step
from sagagen.runtime.model.definition import Retry, StepKind


def compare_steps(old: Saga, new: Saga) -> Iterator[Change]:
    """Both have the same name and version."""
    renamed = dict(_renamed(old.calls, new.calls))
    yield from _removed(old, new, renamed)
    yield from _added(old, new, renamed)
    yield from _reordered(old, new)
    yield from _pivot_moved(old, new)
    before = {step.name: step for step in old.calls}
    for step in new.calls:
        if step.name in before:
            yield from _Pair(old, new, before[step.name], step).changes()


def _renamed(old: Sequence[Step], new: Sequence[Step]) -> Iterator[tuple[str, Step]]:
    """Steps that do the same at the same place under a new name."""
    names_before, names_after = {step.name for step in old}, {step.name for step in new}
    for was, now in zip(old, new, strict=False):
        is_renamed = was.name not in names_after and now.name not in names_before
        if is_renamed and _rpc(was.action) == _rpc(now.action):
            yield was.name, now


def _removed(old: Saga, new: Saga, renamed: Mapping[str, Step]) -> Iterator[Change]:
    names = {step.name for step in new.calls}
    for step in old.calls:
        if step.name in renamed:
            now = renamed[step.name]
            message = f"step {step.name} is now called {now.name}"
            yield Change.of(step_rules.STEP_RENAMED, now.span, f"{new.name}/{step.name}", message)
        elif step.name not in names:
            rule = step_rules.STEP_REMOVED_OWING if step.compensation else step_rules.STEP_REMOVED
            reach = Reach.OWES_STEP if step.compensation else Reach.ALL
            target = Target(old.name, old.version, reach, step.name)
            message = f"step {step.name} is gone"
            yield Change.of(rule, new.span, f"{new.name}/{step.name}", message, target)


def _added(old: Saga, new: Saga, renamed: Mapping[str, Step]) -> Iterator[Change]:
    names = {step.name for step in old.calls}
    known = [step in renamed.values() or step.name in names for step in new.calls]
    for number, step in enumerate(new.calls):
        if known[number]:
            continue
        subject = f"{new.name}/{step.name}"
        if any(known[number:]):
            target = Target(old.name, old.version)
            message = f"step {step.name} is new, before {new.calls[number + 1].name}"
            yield Change.of(step_rules.STEP_INSERTED, step.span, subject, message, target)
        else:
            yield Change.of(
                step_rules.STEP_APPENDED, step.span, subject, f"step {step.name} is new, at the end"
            )


def _reordered(old: Saga, new: Saga) -> Iterator[Change]:
    before, after = [step.name for step in old.calls], [step.name for step in new.calls]
    was = [name for name in before if name in after]
    now = [name for name in after if name in before]
    if was != now:
        message = f"{', '.join(was)} -> {', '.join(now)}"
        yield Change.of(
            step_rules.STEPS_REORDERED, new.span, new.name, message, Target(old.name, old.version)
        )


def _pivot_moved(old: Saga, new: Saga) -> Iterator[Change]:
    was, now = _pivot(old), _pivot(new)
    order = [step.name for step in new.calls]
    if was is None or now is None or was.name == now.name or was.name not in order:
        return
    rule = (
        step_rules.PIVOT_LATER if order.index(now.name) > order.index(was.name) else step_rules.PIVOT_EARLIER
    )
    message = f"pivot {was.name} -> {now.name}"
    yield Change.of(rule, now.span, new.name, message, Target(old.name, old.version))


def _pivot(saga: Saga) -> Step | None:
    return next((step for step in saga.calls if step.kind is StepKind.PIVOT), None)


def _rpc(call: Call) -> tuple[str, str]:
    return call.service.name, call.method.descriptor.full_name


def _shown(call: Call) -> str:
    return f"{call.service.name}/{call.method.descriptor.name}"


class _Pair:
    """A step as it was and as it is."""

    def __init__(self, old: Saga, new: Saga, was: Step, now: Step) -> None:
        self._old = old
        self._new = new
        self._was = was
        self._now = now

    def changes(self) -> Iterator[Change]:
        yield from self._kind()
        yield from self._action()
        yield from self._compensation()
        yield from self._timing()

    def _change(
        self, rule: Rule, message: str, reach: Reach | None = None, call: Call | None = None
    ) -> Change:
        target = Target(self._old.name, self._old.version, reach, self._was.name) if reach else None
        at = call.span if call else self._now.span
        return Change.of(rule, at, f"{self._new.name}/{self._now.name}", message, target)

    def _kind(self) -> Iterator[Change]:
        was, now = self._was.kind, self._now.kind
        is_moved_pivot = StepKind.PIVOT in {was, now} and _pivot(self._old) and _pivot(self._new)
        if was is not now and not is_moved_pivot:
            yield self._change(step_rules.KIND_CHANGED, f"{was.value} -> {now.value}")

    def _action(self) -> Iterator[Change]:
        was, now = self._was.action, self._now.action
        if _rpc(was) != _rpc(now):
            message = f"{_shown(was)} -> {_shown(now)}"
            yield self._change(step_rules.CALL_CHANGED, message, Reach.BEFORE_END_OF_STEP, now)
            return
        old_rpc, new_rpc = was.method.descriptor, now.method.descriptor
        if old_rpc.input_type.full_name != new_rpc.input_type.full_name:
            message = f"{old_rpc.input_type.full_name} -> {new_rpc.input_type.full_name}"
            yield self._change(step_rules.REQUEST_TYPE_CHANGED, message, Reach.BEFORE_END_OF_STEP, now)
        elif was.request.canonical() != now.request.canonical():
            message = f"request of {_shown(now)} is built differently"
            yield self._change(step_rules.REQUEST_CHANGED, message, Reach.BEFORE_END_OF_STEP, now)
        if old_rpc.output_type.full_name != new_rpc.output_type.full_name:
            message = f"{old_rpc.output_type.full_name} -> {new_rpc.output_type.full_name}"
            yield self._change(step_rules.RESPONSE_TYPE_CHANGED, message, Reach.OWES_STEP, now)
        if not old_rpc.GetOptions().deprecated and new_rpc.GetOptions().deprecated:
            yield self._change(step_rules.RPC_DEPRECATED, f"{_shown(now)} is deprecated", call=now)

    def _compensation(self) -> Iterator[Change]:
        was, now = self._was.compensation, self._now.compensation
        owes = Reach.OWES_STEP
        if was and not now:
            message = f"{_shown(was)} no longer undoes {self._was.name}"
            yield self._change(compensation_rules.COMPENSATION_REMOVED, message, owes)
        elif now and not was:
            message = f"{_shown(now)} undoes {self._now.name}"
            yield self._change(compensation_rules.COMPENSATION_ADDED, message, call=now)
        elif was and now and _rpc(was) != _rpc(now):
            message = f"{_shown(was)} -> {_shown(now)}"
            yield self._change(compensation_rules.COMPENSATION_CALL_CHANGED, message, owes, now)
        elif was and now and was.request.canonical() != now.request.canonical():
            message = f"request of {_shown(now)} is built differently"
            yield self._change(compensation_rules.COMPENSATION_REQUEST_CHANGED, message, owes, now)

    def _timing(self) -> Iterator[Change]:
        was, now = self._was.action, self._now.action
        if now.timeout_s < was.timeout_s:
            message = f"timeout {was.timeout_s:g} s -> {now.timeout_s:g} s"
            yield self._change(timing_rules.TIMEOUT_LOWERED, message, call=now)
        elif now.timeout_s > was.timeout_s:
            message = f"timeout {was.timeout_s:g} s -> {now.timeout_s:g} s"
            yield self._change(timing_rules.TIMING_RELAXED, message, call=now)
        for rule, message in _retries(was.retry, now.retry):
            yield self._change(rule, message, call=now)
        undone, undoes = self._was.compensation, self._now.compensation
        if undone and undoes:
            for message in _less_time(undone, undoes):
                yield self._change(compensation_rules.COMPENSATION_TIMING, message, call=undoes)


def _retries(was: Retry, now: Retry) -> Iterator[tuple[Rule, str]]:
    before, after = was.max_attempts, now.max_attempts
    if before != after:
        is_fewer = after is not None and (before is None or after < before)
        message = f"max_attempts {before or 'unlimited'} -> {after or 'unlimited'}"
        yield (timing_rules.ATTEMPTS_LOWERED if is_fewer else timing_rules.TIMING_RELAXED), message
    lost, gained = set(was.codes) - set(now.codes), set(now.codes) - set(was.codes)
    if lost:
        yield (
            timing_rules.CODES_NARROWED,
            f"no longer retried: {', '.join(sorted(code.name for code in lost))}",
        )
    if gained:
        yield timing_rules.CODES_WIDENED, f"retried too: {', '.join(sorted(code.name for code in gained))}"
    yield from _budget(was.give_up_after_s, now.give_up_after_s)
    if now.initial_s < was.initial_s or now.max_s < was.max_s or now.multiplier < was.multiplier:
        yield timing_rules.BACKOFF_SHORTENED, f"backoff {_backoff(was)} -> {_backoff(now)}"


def _budget(before: float | None, after: float | None) -> Iterator[tuple[Rule, str]]:
    """Of pivots and retriable steps: a change of kind is told as that."""
    if before is not None and after is not None and before != after:
        rule = timing_rules.BUDGET_LOWERED if after < before else timing_rules.TIMING_RELAXED
        yield rule, f"give_up_after {before:g} s -> {after:g} s"


def _backoff(retry: Retry) -> str:
    return f"{retry.initial_s:g} s x {retry.multiplier:g} up to {retry.max_s:g} s"


def _less_time(was: Call, now: Call) -> Iterator[str]:
    if now.timeout_s < was.timeout_s:
        yield f"timeout {was.timeout_s:g} s -> {now.timeout_s:g} s"
    before, after = was.retry.give_up_after_s, now.retry.give_up_after_s
    if after is not None and (before is None or after < before):
        yield f"give_up_after {before or 0:g} s -> {after:g} s"
