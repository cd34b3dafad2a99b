"""What changed about a wait, or a delay: what ends it, and what follows then."""

from collections.abc import Iterator

from sagagen.compatibility.change import Change, Reach
from sagagen.compatibility.matching import time_of
from sagagen.compatibility.outside import renamed_events
from sagagen.compatibility.pair import Pair, difference, is_same
from sagagen.compatibility.rules import outside as outside_rules
from sagagen.compatibility.rules import steps as step_rules
from sagagen.compatibility.rules import timing as timing_rules
from sagagen.contract.model import Decline, Delay, Wait
from sagagen.emit.docs_text import in_words


def compare_wait(pair: Pair[Wait]) -> Iterator[Change]:
    was, now = pair.was, pair.now
    if renamed_events(pair.old, pair.new).get(was.event, was.event) != now.event:
        message = f"waits for {was.event} -> for {now.event}"
        yield pair.change(outside_rules.WAIT_EVENT_CHANGED, message, Reach.BEFORE_END_OF_STEP)
    yield from _decline(pair, was.decline, now.decline)
    yield from _timeout(pair)
    yield from _within(pair)


def _decline(pair: Pair[Wait], was: Decline | None, now: Decline | None) -> Iterator[Change]:
    if not is_same(was and was.when, now and now.when):
        message = difference("decline", was and was.when, now and now.when)
        yield pair.change(outside_rules.DECLINE_CHANGED, message, Reach.BEFORE_END_OF_STEP)
    if was and now and was.reason != now.reason:
        message = f"decline's reason {was.reason} -> {now.reason}"
        yield pair.change(outside_rules.REASON_CHANGED, message, Reach.BEFORE_END_OF_STEP)


def _timeout(pair: Pair[Wait]) -> Iterator[Change]:
    was, now = pair.was.on_timeout, pair.now.on_timeout
    if (was is None) is not (now is None):
        message = f"on_timeout {was or 'continue'} -> {now or 'continue'}"
        yield pair.change(outside_rules.ON_TIMEOUT_CHANGED, message, Reach.BEFORE_END_OF_STEP)
    elif was != now:
        message = f"on_timeout's reason {was} -> {now}"
        yield pair.change(outside_rules.REASON_CHANGED, message, Reach.BEFORE_END_OF_STEP)


def _within(pair: Pair[Wait]) -> Iterator[Change]:
    was, now = pair.was.within_s, pair.now.within_s
    if was == now:
        return
    is_lower = now is not None and (was is None or now < was)
    rule = timing_rules.WITHIN_LOWERED if is_lower else timing_rules.TIMING_RELAXED
    yield pair.change(rule, f"within {_seconds(was)} -> {_seconds(now)}", Reach.BEFORE_STEP)


def compare_delay(pair: Pair[Delay]) -> Iterator[Change]:
    was, now = pair.was, pair.now
    if was.after_s is not None and now.after_s is not None:
        if was.after_s != now.after_s:
            message = f"delay of {in_words(was.after_s)} -> {in_words(now.after_s)}"
            yield pair.change(timing_rules.DELAY_CHANGED, message, Reach.BEFORE_STEP)
    elif time_of(was) != time_of(now):
        message = f"{_source(was)} -> {_source(now)}"
        yield pair.change(step_rules.DELAY_SOURCE_CHANGED, message, Reach.BEFORE_STEP)
    yield from _bound(pair)


def _bound(pair: Pair[Delay]) -> Iterator[Change]:
    was, now = pair.was.at_most_s, pair.now.at_most_s
    if was == now:
        return
    is_lower = now is not None and (was is None or now < was)
    rule = timing_rules.BOUND_LOWERED if is_lower else timing_rules.BOUND_RAISED
    yield pair.change(rule, f"at_most {_seconds(was)} -> {_seconds(now)}", Reach.BEFORE_STEP)


def _source(delay: Delay) -> str:
    if delay.after_s is not None:
        return in_words(delay.after_s)
    return "`after` an expression" if delay.after else "`at` an expression"


def _seconds(seconds: float | None) -> str:
    return "no bound of its own" if seconds is None else in_words(seconds)
