"""The contract diff for a pull request: what breaks, and each changed saga before and after."""

from collections.abc import Iterator, Sequence

from sagagen.compatibility.change import Change, ChangeSeverity
from sagagen.compatibility.running import OpenSagas
from sagagen.contract.model import Call, Mesh, Saga, Step

_TITLES = {
    ChangeSeverity.BREAKING: "Breaking",
    ChangeSeverity.WARNING: "Worth knowing",
    ChangeSeverity.SAFE: "Safe",
}
_HEAD = ("| | step | calls | undone by | timeout | retried |", "|---|---|---|---|---|---|")


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
        if saga.name in before and _table(before[saga.name]) != _table(saga):
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
    yield from ("", *_table(old), "", "</details>", "")
    yield f"after (version {new.version}):"
    yield from ("", *_table(new), "")


def _table(saga: Saga) -> list[str]:
    return [*_HEAD, *(_row(number, step) for number, step in enumerate(saga.calls, 1))]


def _row(number: int, step: Step) -> str:
    kind = "" if step.kind.value == "compensatable" else f" ({step.kind.value})"
    undone = _name(step.compensation) if step.compensation else "-"
    return (
        f"| {number} | {step.name}{kind} | {_name(step.action)} | {undone} | {step.action.timeout_s:g} s "
        f"| {_retried(step.action)} |"
    )


def _name(call: Call) -> str:
    return f"`{call.service.name}/{call.method.descriptor.name}`"


def _retried(call: Call) -> str:
    retry = call.retry
    how_long = f"{retry.max_attempts} attempts" if retry.max_attempts else "until the deadline"
    if retry.give_up_after_s is not None:
        how_long = f"for {retry.give_up_after_s:g} s"
    return f"{how_long}, {retry.initial_s:g} s to {retry.max_s:g} s"


def _plain(text: str) -> str:
    """The text, with nothing in it that acts as markup or ends the list."""
    return " ".join(text.replace("`", "'").replace("<", "&lt;").replace("|", "\\|").split())
