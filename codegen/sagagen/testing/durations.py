"""Spans of time as tests write them: `10m`, as in saga.yaml."""

import re
from datetime import timedelta

Duration = str | float | timedelta
"""`90s`, `1h30m`, a number of seconds, or a timedelta."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(duration: Duration) -> float:
    """Raises ValueError for what is no duration, or less than none."""
    if isinstance(duration, timedelta):
        found = duration.total_seconds()
    elif isinstance(duration, str):
        if not re.fullmatch(f"(?:{_PART.pattern})+", duration):
            raise ValueError(f"{duration!r} is no duration: write 500ms, 90s, 10m, 1h30m or 7d")
        found = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(duration))
    else:
        found = float(duration)
    if found < 0:
        raise ValueError(f"{duration!r} is less than no time")
    return found
