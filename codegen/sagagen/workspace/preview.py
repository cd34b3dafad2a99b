"""What a run would change, as a unified diff that `patch` and `git apply` read."""

import difflib
import re
from collections.abc import Iterator, Sequence

from sagagen.workspace.comparison import Difference, Kind


def preview(differences: Sequence[Difference]) -> Iterator[str]:
    """The lines, each with its newline. Files that a run would leave as they are do not appear."""
    for one in differences:
        if one.kind is not Kind.EXTRA:
            yield from _of_file(one)


def _of_file(one: Difference) -> Iterator[str]:
    before, after = _text(one.before), _text(one.after)
    if before is None or after is None:
        yield f"Binary files a/{one.path} and b/{one.path} differ\n"
        return
    lines = difflib.unified_diff(
        _lines(before),
        _lines(after),
        f"a/{one.path}" if one.before is not None else "/dev/null",
        f"b/{one.path}" if one.after is not None else "/dev/null",
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)  # splitlines would also split at form feeds


def _text(content: bytes | None) -> str | None:
    """None if it is not text. A missing file counts as an empty one here."""
    try:
        text = (content or b"").decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
