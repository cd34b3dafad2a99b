"""The contract diff for a pull request: what breaks, and each changed saga before and after."""

from collections.abc import Iterator, Sequence

from sagagen.cli.diff_table import table
from sagagen.compatibility.change import Change, ChangeSeverity
from sagagen.compatibility.running import OpenSagas
from sagagen.contract.model import Mesh, Saga

_TITLES = {
    ChangeSeverity.BREAKING: "Breaking",
    ChangeSeverity.WARNING: "Worth knowing",
    ChangeSeverity.SAFE: "Safe",
}


def as_markdown(
    summary: str, old: Mesh, new: Mesh, changes: Sequence[Change], open_sagas: OpenSagas | None
) -> str:
    lines = [f"## Contract: {summary}", ""]
    if open_sagas:
        lines += [f"Looked at {open_sagas}.", ""]
    for severity, title in _TITLES.items():
        found = [change for change in changes if change.severity is severity]
        if found:
            lines += [f"### {title}", "", *(line for change in found for line in _item(change)), ""]
    before = {saga.name: saga for saga in old.sagas}
    for saga in new.sagas:
        if saga.name in before and table(before[saga.name]) != table(saga):
            lines += _before_and_after(before[saga.name], saga)
    return "\n".join(lines).rstrip() + "\n"


def _item(change: Change) -> Iterator[str]:
    subject, message = _plain(change.subject), _plain(change.message)
    yield f"- **{change.rule.code}** `{subject}`: {message} (`{change.at.path}:{change.at.line}`)"
    if change.severity is not ChangeSeverity.SAFE and change.rule.reason:
        yield f"  {_plain(change.rule.reason)}."
    if change.hit:
        yield f"  **{change.hit}**."
    if change.severity is ChangeSeverity.BREAKING and change.rule.recipe:
        yield f"  *Instead:* {_plain(change.rule.recipe)}."
    yield from (f"  *{_plain(note)}*" for note in change.notes)


def _before_and_after(old: Saga, new: Saga) -> Iterator[str]:
    yield f"### Steps of `{new.name}`"
    yield ""
    yield f"<details><summary>before (version {old.version})</summary>"
    yield from ("", *table(old), "", "</details>", "")
    yield f"after (version {new.version}):"
    yield from ("", *table(new), "")


def _plain(text: str) -> str:
    """The text, with nothing in it that acts as markup or ends the list."""
    return " ".join(text.replace("`", "'").replace("<", "&lt;").replace("|", "\\|").split())
