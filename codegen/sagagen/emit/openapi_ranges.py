"""Ranges of integers that JSON writes as texts: 64-bit ones, and keys of maps. A pattern says which texts they are."""

from collections.abc import Iterator


def pattern_between(least: int, most: int) -> str:
    """Matches exactly the texts of the integers from `least` to `most`, without leading zeros and `-0`."""
    texts: list[str] = []
    if least < 0:
        texts += [f"-{text}" for text in _naturals(max(1, -most), -least)]
    if least <= 0 <= most:
        texts.append("0")
    if most > 0:
        texts += _naturals(max(1, least), most)
    return f"^(?:{'|'.join(texts)})$"


def _naturals(least: int, most: int) -> Iterator[str]:
    """By number of digits; those whose digits are free are one pattern."""
    low, high = str(least), str(most)
    if len(low) == len(high):
        yield _digits(low, high)
        return
    if low.strip("0") != "1":
        yield _digits(low, "9" * len(low))
        low = f"1{'0' * len(low)}"
    free = len(high) - (high.strip("9") != "")
    if len(low) <= free:
        yield f"[1-9]{_any(len(low) - 1, free - 1)}"
    if free < len(high):
        yield _digits(f"1{'0' * free}", high)


def _digits(low: str, high: str) -> str:
    """Of one length."""
    if low.strip("0") == "" and high.strip("9") == "":
        return _any(len(low), len(low))
    first, last = int(low[0]), int(high[0])
    if first == last:
        return low[0] + (_digits(low[1:], high[1:]) if low[1:] else "")
    rest = len(low) - 1
    parts: list[str] = []
    if low[1:].strip("0"):
        parts.append(low[0] + _digits(low[1:], "9" * rest))
        first += 1
    if high[1:].strip("9"):
        last -= 1
    if first <= last:
        parts.append((str(first) if first == last else f"[{first}-{last}]") + _any(rest, rest))
    if high[1:].strip("9"):
        parts.append(high[0] + _digits("0" * rest, high[1:]))
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _any(least: int, most: int) -> str:
    if most == 0:
        return ""
    if least == most:
        return "[0-9]" if most == 1 else f"[0-9]{{{most}}}"
    return f"[0-9]{{{least},{most}}}"
