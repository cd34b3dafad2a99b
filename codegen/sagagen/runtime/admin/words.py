"""What is shown of sagas in words, and the command lines that do what an operator may do."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sagagen.runtime.saga.commands import BOUND


class CommandLine(NamedTuple):
    """A command to paste, and what it does."""

    line: str
    does: str


def command_lines(
    saga_id: str, offers: Sequence[Mapping[str, Any]], options: str = ""
) -> Sequence[CommandLine]:
    """One for each offer, as `show` has them. `options` lead to the same place: ` --admin host:port`."""
    several = {act for act, count in Counter(offer["act"] for offer in offers).items() if count > 1}
    return [_command(saga_id, offer, options, is_one_of_several=offer["act"] in several) for offer in offers]


def _command(saga_id: str, offer: Mapping[str, Any], options: str, *, is_one_of_several: bool) -> CommandLine:
    act, step, outcome = offer["act"], offer["step"] or "", offer["as"]
    words = ["sagagen", "sagas", act, saga_id]
    if act in BOUND:
        words.append(step)
    elif step and is_one_of_several:
        words += ["--step", step]
    if outcome:
        words += ["--as", outcome]
    return CommandLine(f"{shlex.join(words)}{options}", DOES[act, outcome].format(step=step))


DOES: Mapping[tuple[str, str | None], str] = {
    ("retry", None): "call step {step} again now, with a new budget",
    ("resolve", None): "step {step} was settled by hand",
    ("resolve", "done"): "step {step} happened; --response JSON gives its response",
    ("resolve", "refused"): "step {step} did not happen and will not: the saga turns back",
    ("skip", None): "go on without step {step}; it may have happened",
    ("cancel", None): "undo what was done",
    ("hold", None): "repeat nothing for now, to settle step {step} by hand",
}


def age(seconds: float | None) -> str:
    """`12s`, `5m10s`, `3h20m`, `2d4h`; empty for none."""
    if seconds is None:
        return ""
    whole = int(seconds)
    for unit, size, below, below_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // below_size
            return f"{whole // size}{unit}{rest}{below}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"
