"""Reads `customer == "ann" && total > 5000`: comparisons of index values, of which each has to hold.

It is a part of what `sagagen sagas list --where` reads; that reader belongs to the generator, which a gateway lacks.
"""

import json
import re

from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.saga.where import OPERATORS, Both, Comparison, Value, Where, as_data

_COMPARISON = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*(?P<operator>==|!=|<=|>=|<|>)\s*"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^'\\]*'|-?\d{1,19}|true|false)\s*"
)


def condition_as_json(text: str) -> str:
    """As the admin listener takes it (`saga/where.py`). Raises BadOrder, which says where, and what to write."""
    parts: list[Where] = []
    at = 0
    while True:
        found = _COMPARISON.match(text, at)
        if found is None:
            raise _wrong(text, at)
        parts.append(Comparison(found["name"], found["operator"], _value(found["value"], text, at)))
        at = found.end()
        if at == len(text):
            return json.dumps(as_data(parts[0] if len(parts) == 1 else Both(tuple(parts))))
        if not text.startswith("&&", at):
            raise _wrong(text, at)
        at += 2


def _value(text: str, whole: str, at: int) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("'"):
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError as error:
        raise _wrong(whole, at) from error


def _wrong(text: str, at: int) -> BadOrder:
    here = f'before "{text[at : at + 20].strip()}"' if text[at:].strip() else "at its end"
    return BadOrder(
        f"the condition can't be read {here}: write name, one of {' '.join(OPERATORS)}, and a text in quotes, a whole "
        'number, true or false; several with && between them, like customer == "ann" && total > 5000. '
        "The command line (--where) also reads || and !."
    )
