"""How often in a row an engine's process died with a saga under way: a saga that kills its process is set aside.

Theory of operation. A handler that runs in the engine's process can end it (`os._exit`, a segfault, too much memory),
and each restart would resume the saga and die again. Nothing is written while sagas run; what counts is kept in a file
beside the log, which is there while an engine runs, and gone once it has been told to stop. An engine that finds it
knows that the one before it died, and counts:

    deaths   how the saga is resumed
    ------   -----------------------
    0, 1     with all others: most processes die of something else
    2        on trial: alone, before all others, until its call has an answer
    3        not at all: it becomes STUCK

A death is charged to every saga that was under way; one on trial to the saga on trial, since no other runs then. So
only a saga that was alone with its third death is set aside. An answer to its call, whatever it says, is the proof that
the process survives the call: it clears the saga. Losing the file loses the counts, and nothing else (decision 161).
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import structlog

from sagagen.runtime.saga.events import LogEvent, Resumed

TRIED_FROM = 2
"""Deaths in a row after which a saga is tried alone."""
SET_ASIDE_AT = 3
TRIALS_S = 10.0
"""Seconds after which no further trial is begun: those that are left run with all others, and are tried next time."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Count(NamedTuple):
    """What is known of one saga."""

    deaths: int
    """In a row, since it last had an answer."""
    rows: int
    """Of its log, as `answered` counts them, when that was written."""


@dataclass(frozen=True, slots=True)
class Record:
    """What an engine leaves behind where it can't say goodbye."""

    counts: Mapping[str, Count] = field(default_factory=lambda: MappingProxyType({}))
    on_trial: str = ""
    """The one saga that runs; empty if all do."""

    def after_death(self, rows: Mapping[str, int]) -> "Record":
        """The record of the next process. `rows` has the sagas that are active, with what they have by now."""
        counts = {saga_id: self._charged(saga_id, count) for saga_id, count in rows.items()}
        return Record({saga_id: count for saga_id, count in counts.items() if count.deaths})

    def _charged(self, saga_id: str, rows: int) -> Count:
        before = self.counts.get(saga_id, Count(0, rows))
        deaths = before.deaths if before.rows == rows else 0
        return Count(deaths + (self.on_trial in ("", saga_id)), rows)

    def to_set_aside(self, died_on_trial: str) -> str:
        """The saga that is resumed no more; empty if none."""
        count = self.counts.get(died_on_trial)
        return died_on_trial if count and count.deaths >= SET_ASIDE_AT else ""

    def to_try(self) -> Sequence[str]:
        """The sagas that are resumed alone, those with the most deaths first."""
        suspects = {saga_id: count for saga_id, count in self.counts.items() if count.deaths >= TRIED_FROM}
        return sorted(suspects, key=lambda saga_id: -suspects[saga_id].deaths)


def answered(rows: Sequence[LogEvent]) -> int:
    """Rows that show that something came of a saga's calls, or was done to it: it may be another call since then."""
    return sum(not isinstance(row, Resumed) for row in rows)


class Deaths:
    """The file beside a log. What can't be read or written is reported, and not counted: no engine fails for it."""

    def __init__(self, log: Path | None) -> None:
        """None: an engine that has no files counts no deaths."""
        self._path = log and log.with_name(log.name + ".deaths")
        self._record = Record()

    def left_behind(self) -> Record | None:
        """What a process that died has left; None if the one before was told to stop, or there was none."""
        if self._path is None:
            return None
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, encoding="utf-8") as file:
                return _read(file.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            self._report(error)
            return None

    def begin(self, record: Record) -> None:
        """From now on this process runs."""
        self._write(record)

    def try_alone(self, saga_id: str) -> None:
        self._write(replace(self._record, on_trial=saga_id))

    def try_no_more(self) -> None:
        self._write(replace(self._record, on_trial=""))

    def end(self) -> None:
        """This process was told to stop: whatever ends it now is no death. May be repeated."""
        if self._path:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write(self, record: Record) -> None:
        """Whole or not at all. Not synced: it must survive this process; where the machine stops, no saga did it."""
        self._record = record
        if self._path is None:
            return
        new = self._path.with_name(self._path.name + ".new")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump({"on_trial": record.on_trial, "counts": dict(record.counts)}, file)
            new.replace(self._path)
        except OSError as error:
            self._report(error)

    def _report(self, error: OSError) -> None:
        _logger.warning(
            "deaths of this process can't be counted", path=str(self._path), reason=error.strerror
        )


def _read(text: str) -> Record:
    """A file that says nothing of use says all the same that a process has died."""
    try:
        stored: Any = json.loads(text)
        counts = {str(saga_id): Count(*map(int, count)) for saga_id, count in stored["counts"].items()}
        return Record(counts, str(stored["on_trial"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Record()
