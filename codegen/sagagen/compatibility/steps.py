"""What changed about a step: what it calls, with what, how it is undone and repeated."""

from collections.abc import Iterator

from sagagen.compatibility.change import Change, Reach, Rule
from sagagen.compatibility.matching import rpc
from sagagen.compatibility.pair import Pair, difference, is_same
from sagagen.compatibility.rules import compensations as compensation_rules
from sagagen.compatibility.rules import steps as step_rules
from sagagen.compatibility.rules import timing as timing_rules
from sagagen.contract.model import Call, ForEach, Step
from sagagen.emit.docs_text import in_words
from sagagen.runtime.model.definition import Retry


def compare_step(pair: Pair[Step]) -> Iterator[Change]:
    """Both are loops, or neither is."""
    yield from _action(pair)
    yield from _compensation(pair)
    yield from _giving_up(pair)
    if pair.was.for_each and pair.now.for_each:
        yield from _loop(pair, pair.was.for_each, pair.now.for_each)
    yield from _timing(pair)


def _shown(call: Call) -> str:
    return f"{call.service.name}/{call.method.descriptor.name}"


def _action(pair: Pair[Step]) -> Iterator[Change]:
    was, now = pair.was.action, pair.now.action
    if rpc(was) != rpc(now):
        message = f"{_shown(was)} -> {_shown(now)}"
        yield pair.change(step_rules.CALL_CHANGED, message, Reach.BEFORE_END_OF_STEP, now.span)
        return
    old_rpc, new_rpc = was.method.descriptor, now.method.descriptor
    if old_rpc.input_type.full_name != new_rpc.input_type.full_name:
        message = f"{old_rpc.input_type.full_name} -> {new_rpc.input_type.full_name}"
        yield pair.change(step_rules.REQUEST_TYPE_CHANGED, message, Reach.BEFORE_END_OF_STEP, now.span)
    elif not is_same(was.request, now.request):
        message = f"request of {_shown(now)} is built differently"
        yield pair.change(step_rules.REQUEST_CHANGED, message, Reach.BEFORE_END_OF_STEP, now.span)
    if old_rpc.output_type.full_name != new_rpc.output_type.full_name:
        message = f"{old_rpc.output_type.full_name} -> {new_rpc.output_type.full_name}"
        yield pair.change(step_rules.RESPONSE_TYPE_CHANGED, message, Reach.OWES_STEP, now.span)
    if not old_rpc.GetOptions().deprecated and new_rpc.GetOptions().deprecated:
        yield pair.change(step_rules.RPC_DEPRECATED, f"{_shown(now)} is deprecated", at=now.span)


def _compensation(pair: Pair[Step]) -> Iterator[Change]:
    was, now = pair.was.compensation, pair.now.compensation
    owes = Reach.OWES_STEP
    if was and not now:
        message = f"{_shown(was)} no longer undoes {pair.was.name}"
        yield pair.change(compensation_rules.COMPENSATION_REMOVED, message, owes)
    elif now and not was:
        message = f"{_shown(now)} undoes {pair.now.name}"
        yield pair.change(compensation_rules.COMPENSATION_ADDED, message, at=now.span)
    elif was and now and rpc(was) != rpc(now):
        message = f"{_shown(was)} -> {_shown(now)}"
        yield pair.change(compensation_rules.COMPENSATION_CALL_CHANGED, message, owes, now.span)
    elif was and now and not is_same(was.request, now.request):
        message = f"request of {_shown(now)} is built differently"
        yield pair.change(compensation_rules.COMPENSATION_REQUEST_CHANGED, message, owes, now.span)


def _giving_up(pair: Pair[Step]) -> Iterator[Change]:
    if pair.was.gives_up != pair.now.gives_up:
        rule = step_rules.GIVES_UP if pair.now.gives_up else step_rules.GIVES_UP_NO_MORE
        message = f"`on_give_up: continue` is {'new' if pair.now.gives_up else 'gone'}"
        yield pair.change(rule, message, Reach.BEFORE_END_OF_STEP)


def _loop(pair: Pair[Step], was: ForEach, now: ForEach) -> Iterator[Change]:
    # An item is looked up in the list again when it is undone.
    reach = Reach.ALL if pair.was.compensation else Reach.BEFORE_END_OF_STEP
    if not is_same(was.items, now.items):
        yield pair.change(step_rules.LOOP_SOURCE_CHANGED, difference("in", was.items, now.items), reach)
    if not is_same(was.key, now.key):
        yield pair.change(step_rules.LOOP_KEY_CHANGED, difference("key", was.key, now.key), reach)
    if was.at_once != now.at_once:
        message = f"at_once {was.at_once} -> {now.at_once}"
        yield pair.change(timing_rules.LOOP_PACE, message, Reach.BEFORE_STEP)
    if was.max_items != now.max_items:
        is_lower = now.max_items < was.max_items
        rule = timing_rules.BOUND_LOWERED if is_lower else timing_rules.BOUND_RAISED
        yield pair.change(rule, f"max_items {was.max_items} -> {now.max_items}", Reach.BEFORE_STEP)


def _timing(pair: Pair[Step]) -> Iterator[Change]:
    was, now = pair.was.action, pair.now.action
    if now.timeout_s != was.timeout_s:
        is_lower = now.timeout_s < was.timeout_s
        rule = timing_rules.TIMEOUT_LOWERED if is_lower else timing_rules.TIMING_RELAXED
        yield pair.change(
            rule, f"timeout {in_words(was.timeout_s)} -> {in_words(now.timeout_s)}", at=now.span
        )
    for rule, message in _retries(was.retry, now.retry):
        yield pair.change(rule, message, at=now.span)
    undone, undoes = pair.was.compensation, pair.now.compensation
    if undone and undoes:
        for message in _less_time(undone, undoes):
            yield pair.change(compensation_rules.COMPENSATION_TIMING, message, at=undoes.span)


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
        yield rule, f"give_up_after {in_words(before)} -> {in_words(after)}"


def _backoff(retry: Retry) -> str:
    return f"{in_words(retry.initial_s)} x {retry.multiplier:g} up to {in_words(retry.max_s)}"


def _less_time(was: Call, now: Call) -> Iterator[str]:
    if now.timeout_s < was.timeout_s:
        yield f"timeout {in_words(was.timeout_s)} -> {in_words(now.timeout_s)}"
    before, after = was.retry.give_up_after_s, now.retry.give_up_after_s
    if after is not None and (before is None or after < before):
        yield f"give_up_after {in_words(before or 0)} -> {in_words(after)}"
