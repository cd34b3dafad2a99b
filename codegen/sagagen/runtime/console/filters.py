"""Filters of sagas as they stand in a URL: read, and as options of the command line."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.console.conditions import condition_as_json

OPTIONS: Mapping[str, str] = {
    "saga": "--saga",
    "status": "--status",
    "step": "--step",
    "service": "--service",
    "waiting": "--waiting",
    "failed_step": "--failed-step",
    "error": "--error",
    "where": "--where",
    "older": "--older-than",
    "ended": "--ended-since",
    "text": "",
}
"""Parameters of a URL that narrow a list, and the option of `sagagen sagas` for each; a part of a text has none."""
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGE = re.compile(r"(\d{1,9})([smhd]?)")


@dataclass(frozen=True, slots=True)
class Filters:
    given: Mapping[str, str]
    """By the names of OPTIONS, those that are not empty."""

    @staticmethod
    def of(asked: Mapping[str, str]) -> "Filters":
        return Filters({name: asked[name].strip() for name in OPTIONS if asked.get(name, "").strip()})

    def asked(self, **more: str) -> Mapping[str, str]:
        """As the admin listener's `/sagas` takes them. Raises BadOrder."""
        passed = {name: text for name, text in self.given.items() if name not in ("where", "older", "ended")}
        where, older, ended = (self.given.get(name, "") for name in ("where", "older", "ended"))
        if where:
            passed["where"] = condition_as_json(where)
        if older:
            passed["older_than_s"] = str(_seconds("older", older))
        if ended:
            passed["ended_since_s"] = str(_seconds("ended", ended))
            passed.setdefault("status", "ALL")
        return {**passed, **more}

    @property
    def options(self) -> str:
        """Of `sagagen sagas`, with a blank in front."""
        words: list[str] = []
        for name, text in self.given.items():
            for each in text.upper().split(",") if name == "status" else (text,):
                words += [OPTIONS[name], each.strip()] if OPTIONS[name] else []
        return f" {shlex.join(words)}" if words else ""

    @property
    def has_no_option(self) -> bool:
        """The command line finds more than these filters do."""
        return "text" in self.given


def _seconds(name: str, text: str) -> int:
    found = _AGE.fullmatch(text)
    if found is None:
        raise BadOrder(f'{name}: "{text}" is no age; write 90s, 15m, 2h or 3d')
    return int(found[1]) * _UNITS_S[found[2] or "s"]
