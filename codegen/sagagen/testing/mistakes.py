"""What a test gets wrong: a name that does not exist, something that can't be asked for."""

import difflib
from collections.abc import Iterable


class TestMistake(Exception):
    """The test itself is wrong; the message says what, and what would do."""

    __test__ = False


def unknown(what: str, name: str, known: Iterable[str]) -> TestMistake:
    """`there is no step "x"; did you mean "y"? There are: ...`."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, names, 1, 0.6)
    meant = f'; did you mean "{near[0]}"?' if near else "."
    there_are = f" There are: {', '.join(names)}" if names else " There are none"
    return TestMistake(f'there is no {what} "{name}"{meant}{there_are}')
