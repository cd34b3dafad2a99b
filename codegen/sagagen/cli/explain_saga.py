"""`sagagen explain SAGA`: why a saga is where it is, what happened to it, and what happens next."""

import re
from collections.abc import Mapping
from typing import Any

from sagagen.cli.sagas_options import Place, print_shown
from sagagen.cli.sagas_table import print_saga, print_table, say

_ID = re.compile(r"[0-9a-f]{4,8}(?:-[0-9a-f-]*)?")
"""How a saga's id begins; no code begins like it."""


def is_saga(text: str) -> bool:
    """It is a saga's id, or the beginning of one."""
    return _ID.fullmatch(text.lower()) is not None and not text.isdigit()


def explain_saga(saga_id: str, place: Place) -> None:
    """Raises ClickException if it can't be found."""

    async def asked(source: Any) -> Mapping[str, Any]:
        shown = await source.show(saga_id)
        return {**shown, "history": (await source.history(shown["id"]))["rows"]}

    def printed(saga: Mapping[str, Any]) -> None:
        print_saga(saga, place.options)
        say("")
        say("What happened:")
        print_table(
            ("AT", "WHAT", "STEP", "ATTEMPT", "BY", "WHY"),
            [
                (
                    row["at"],
                    row["what"],
                    row["step"] or "",
                    str(row["attempt"] or ""),
                    row["by"] or "",
                    row["why"] or "",
                )
                for row in saga["history"]
            ],
            is_whole=True,
        )

    print_shown(place.ask(asked), place, printed)
