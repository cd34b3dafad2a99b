"""A short text that a regular expression (RE2's syntax) matches."""

import string

_SHORTHANDS = {"d": "0", "D": "a", "w": "a", "W": "-", "s": " ", "S": "a", "p": "a", "P": "0"}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_NO_WIDTH = frozenset("bBAzZ")
_LIKED = f"a{string.ascii_letters}{string.digits}{string.punctuation} "
"""What to choose from where a class excludes some, in this order."""
_POSIX = {
    "alpha": string.ascii_letters, "digit": string.digits, "alnum": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase, "upper": string.ascii_uppercase, "xdigit": string.hexdigits,
    "word": string.ascii_letters + string.digits + "_", "space": " ", "punct": string.punctuation,
}  # fmt: skip
_CLASSES = {"d": _POSIX["digit"], "w": _POSIX["word"], "s": " \t\n"}
_LONGEST = 1_000


def matching(pattern: str) -> str:
    """Each part once, or as often as it must be. May be wrong for unusual syntax: try it. Raises ValueError."""
    reader = _Reader(pattern)
    text = reader.alternatives()
    if reader.rest:
        raise ValueError(f"{pattern!r} is not understood at {reader.rest!r}")
    return text


class _Reader:
    """Reads the pattern from left to right, once."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    @property
    def rest(self) -> str:
        return self._pattern[self._at :]

    def _take(self) -> str:
        if not self.rest:
            raise ValueError("the pattern ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _takes(self, text: str) -> bool:
        found = self.rest.startswith(text)
        self._at += len(text) if found else 0
        return found

    def alternatives(self) -> str:
        """A text of the first; the others are read past."""
        first = self._branch()
        while self._takes("|"):
            self._branch()
        return first

    def _branch(self) -> str:
        parts: list[str] = []
        while self.rest and self.rest[0] not in "|)":
            atom, times = self._atom(), self._times()
            if len(atom) * times + sum(map(len, parts)) > _LONGEST:
                raise ValueError("no short text matches")
            parts.append(atom * times)
        return "".join(parts)

    def _times(self) -> int:
        times = 1
        if self.rest[:1] in ("*", "+", "?") and self.rest:
            self._take()
        elif self.rest.startswith("{") and "}" in self.rest:
            low, _, high = self._until("{", "}").partition(",")
            times = max(int(low or 0), 1) if high or "," not in low else int(low)
            times = min(times, int(high)) if high else int(low) or times
        self._takes("?")
        return times

    def _until(self, start: str, end: str) -> str:
        assert self._takes(start)
        inner, found, _ = self.rest.partition(end)
        if not found:
            raise ValueError(f"{start!r} is not closed")
        self._at += len(inner) + len(end)
        return inner

    def _atom(self) -> str:
        char = self._take()
        match char:
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case _:
                return char

    def _group(self) -> str:
        if self._takes("?P<") or self._takes("?<"):
            self._until("", ">")
        elif self._takes("?"):
            flags = ""
            while self.rest and self.rest[0] not in ":)":
                flags += self._take()
            if self._takes(")"):
                return ""
            self._take()
        inner = self.alternatives()
        if not self._takes(")"):
            raise ValueError("a group is not closed")
        return inner

    def _escape(self) -> str:
        char = self._take()
        if char in _NO_WIDTH:
            return ""
        if char in "pP" and self._takes("{"):
            self._until("", "}")
        elif char in "pP":
            self._take()
        return _SHORTHANDS.get(char) or _CONTROLS.get(char, char)

    def _class(self) -> str:
        is_negated = self._takes("^")
        members = ""
        while not members or not self.rest.startswith("]"):
            members += self._members()
        self._take()
        if not is_negated:
            return next((one for one in _LIKED if one in members), members[0])
        return next(one for one in [*_LIKED, "\u00e9"] if one not in members)

    def _members(self) -> str:
        if self.rest.startswith("[:"):
            return _POSIX[self._until("[:", ":]")]
        first = self._take()
        if first == "\\":
            escaped = self.rest[:1]
            if escaped in _CLASSES:
                self._take()
                return _CLASSES[escaped]
            first = self._escape()
        if not self.rest.startswith("-") or self.rest.startswith("-]"):
            return first
        self._take()
        last = self._take()
        last = self._escape() if last == "\\" else last
        return "".join(map(chr, range(ord(first), min(ord(last), ord(first) + 500) + 1)))
