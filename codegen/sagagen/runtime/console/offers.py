"""Orders that a saga would carry out now, as forms and as command lines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagagen.runtime.admin.words import command_lines
from sagagen.runtime.saga.commands import BOUND, Act

_LABELS: Mapping[tuple[str, str | None], str] = {
    ("retry", None): "Retry {step}",
    ("resolve", None): "Resolve {step}",
    ("resolve", "done"): "Resolve {step} as done",
    ("resolve", "refused"): "Resolve {step} as refused",
    ("skip", None): "Skip {step}",
    ("cancel", None): "Cancel",
    ("hold", None): "Hold {step}",
}


@dataclass(frozen=True, slots=True)
class OfferForm:
    act: str
    step: str
    outcome: str
    label: str
    does: str
    """What it does, in a few words."""
    line: str
    """The command line that does the same."""
    needs_note: bool
    takes_response: bool
    needs_second: bool
    """A second operator has to confirm it."""
    is_mild: bool
    """It changes nothing that could not be changed again."""


def offer_forms(
    saga_id: str, commands: Sequence[Mapping[str, Any]], options: str, four_eyes: Collection[str]
) -> Sequence[OfferForm]:
    """`commands` as `show` has them; `options` lead the command line here."""
    lines = command_lines(saga_id, commands, options)
    return [
        OfferForm(
            act=offer["act"],
            step=offer["step"] or "",
            outcome=offer["as"] or "",
            label=_LABELS[offer["act"], offer["as"]].format(step=offer["step"] or "").strip(),
            does=line.does.partition(";")[0],
            line=line.line,
            needs_note=offer["act"] in BOUND,
            takes_response=offer["act"] == Act.RESOLVE and offer["as"] == "done",
            needs_second=offer["act"] in four_eyes,
            is_mild=offer["act"] in (Act.RETRY, Act.HOLD),
        )
        for offer, line in zip(commands, lines, strict=True)
    ]
