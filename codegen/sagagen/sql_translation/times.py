"""SQLite's functions of date and time as expressions of PostgreSQL. They give text in UTC, as they did."""

import re
from collections.abc import Sequence

from sagagen.sql_translation.tokens import Token

_FORMATS = {
    "%Y": "YYYY",
    "%m": "MM",
    "%d": "DD",
    "%H": "HH24",
    "%M": "MI",
    "%S": "SS",
    "%f": "SS.MS",
    "%j": "DDD",
    "%F": "YYYY-MM-DD",
    "%T": "HH24:MI:SS",
    "%R": "HH24:MI",
}
LAYOUTS = {
    "datetime": "YYYY-MM-DD HH24:MI:SS",
    "date": "YYYY-MM-DD",
    "time": "HH24:MI:SS",
    "current_timestamp": "YYYY-MM-DD HH24:MI:SS",
    "current_date": "YYYY-MM-DD",
    "current_time": "HH24:MI:SS",
}
_EPOCH = "CAST(floor(extract(epoch FROM {moment})) AS BIGINT)"
_SHIFT = re.compile(r"[+-]?\d+(\.\d+)? (second|minute|hour|day|month|year)s?")
_PARTS = re.compile(r"%.|[^%]+", re.DOTALL)


def time_call(name: str, arguments: Sequence[Sequence[Token]]) -> str | None:
    """None for what has no short counterpart, such as another moment than now."""
    words = [part[0].string if len(part) == 1 else None for part in arguments]
    layout = LAYOUTS.get(name)
    if name == "strftime":
        if not words or words[0] is None:
            return None
        layout, words = _layout(words[0]), words[1:]
    moment = _moment(words)
    if moment is None:
        return None
    if name == "unixepoch":
        return _EPOCH.format(moment=moment)
    if layout == "%s":
        return f"CAST({_EPOCH.format(moment=moment)} AS TEXT)"
    return layout and shown(layout, moment)


def shown(layout: str, moment: str = "now()") -> str:
    quoted = layout.replace("'", "''")
    return f"to_char({moment} AT TIME ZONE 'UTC', '{quoted}')"


def _moment(words: Sequence[str | None]) -> str | None:
    moment = "now()"
    if words and words[0] != "now":
        return None
    for shift in words[1:]:
        if shift is None or not _SHIFT.fullmatch(shift):
            return None
        moment = f"({moment} + INTERVAL '{shift}')"
    return moment


def _layout(given: str) -> str | None:
    """A format of strftime as one of to_char."""
    if given == "%s":
        return given
    parts: list[str] = []
    for part in _PARTS.findall(given):
        if part.startswith("%") and part != "%%":
            if part not in _FORMATS:
                return None
            parts.append(_FORMATS[part])
        else:
            text = "%" if part == "%%" else part
            parts.append(f'"{text}"' if any(letter.isalpha() for letter in text) else text)
    return "".join(parts)
