"""Metrics of waits, delays and events, from the rows that a saga's driver writes. A straight line has none of them."""

from collections.abc import Iterator, Sequence

from sagagen.runtime.model.definition import Delay, Saga, Wait, leaves
from sagagen.runtime.saga.events import START, Done, Ended, Failed, LogEvent, TimedOut, TurnedBack
from sagagen.runtime.saga.history import History
from sagagen.runtime.telemetry.metrics import UNCONSUMED, WAITED_SECONDS


def observe_waits(saga: Saga, history: History, rows: Sequence[LogEvent]) -> None:
    """Record what these rows, which were just written, have ended. `history` has them."""
    for row in rows:
        for key in _ended_by(row, saga, history):
            begun_ms = history.accepted.at_ms if key == START else history.since.get(key)
            if begun_ms is not None:
                WAITED_SECONDS.labels(saga.name, key).observe(max(0, row.at_ms - begun_ms) / 1000)
        if isinstance(row, TurnedBack) or (isinstance(row, Ended) and not history.turned_back):
            for event in history.unconsumed:
                UNCONSUMED.labels(saga.name, event.event).inc()


def _ended_by(row: LogEvent, saga: Saga, history: History) -> Iterator[str]:
    """Keys of the waits and delays that a row has ended."""
    match row:
        case Done(step=step, attempt=0) | TimedOut(step=step):
            yield step
        case Failed(step=step, event=int()):
            yield step
        case TurnedBack():
            pauses = (leaf.name for leaf in leaves(saga.steps) if isinstance(leaf, Wait | Delay))
            declined = history.used.values()
            yield from (name for name in pauses if not history.is_over(name) and name not in declined)
        case _:
            pass
