"""Checks the names of additions, and suggests what was probably meant if they can't be names."""

import re

from sagagen.contract.words import NAME
from sagagen.editing.text import CannotAdd
from sagagen.python_names import snake_case

METHOD = re.compile(r"[A-Z][A-Za-z0-9]*")


def check_name(what: str, name: str) -> None:
    """Of a service, saga or step. Raises CannotAdd."""
    if not NAME.fullmatch(name):
        spelt = re.sub(r"[^a-z0-9_]+", "_", snake_case(name)).strip("_")
        hint = f': did you mean "{spelt}"?' if NAME.fullmatch(spelt) else ""
        raise CannotAdd(f'"{name}" cannot name a {what}: use lower case letters, digits and _{hint}')


def check_method(name: str) -> None:
    """Of an rpc. Raises CannotAdd."""
    if not METHOD.fullmatch(name):
        spelt = "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
        hint = f': did you mean "{spelt}"?' if METHOD.fullmatch(spelt) else ""
        raise CannotAdd(f'"{name}" cannot name an rpc: use letters and digits, as in ShipOrder{hint}')
