"""The matrix as a table in a terminal, as JUnit, and as Markdown for a pull request."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from sagagen.testing.matrix.rows import Row
from sagagen.testing.matrix.verdicts import Result, SagaVerdicts, Verdict, count

WHOLE = "(the saga)"
"""Stands for the element of rows that are about none."""
_FEW = 12
"""So many rows are told one by one."""


def replay_command(row: Row, seed: int) -> str:
    """Plays one row again, so that a debugger stops in a handler."""
    seeded = f" --seed {seed}" if seed else ""
    return f"sagagen test --matrix --only {shlex.quote(row.name)}{seeded} --debug"


def summary(found: Sequence[SagaVerdicts], seconds: float) -> str:
    total = sum(len(each.verdicts) for each in found)
    counts = [(count(found, result), result) for result in Result]
    said = ", ".join(f"{number} {result}" for number, result in counts if number)
    return f"{total} {'row' if total == 1 else 'rows'}: {said or 'none'}, in {seconds:.1f} s"


# -- terminal ------------------------------------------------------------------------------------------------------


def as_text(found: Sequence[SagaVerdicts], seconds: float, seed: int) -> str:
    lines: list[str] = []
    for each in found:
        lines += [*_saga(each), ""]
    for verdict in _not_ok(found):
        lines += [*_detail(verdict, seed), ""]
    lines.append(summary(found, seconds))
    if count(found, Result.NEW) or count(found, Result.CHANGED):
        lines.append("If this is what they should leave: sagagen test --matrix --approve")
    return "\n".join(lines)


def _saga(each: SagaVerdicts) -> Iterator[str]:
    yield f"{each.saga}   (sample: {each.source})"
    if len(each.verdicts) <= _FEW:
        yield from _aligned(["row", "ends", "result"], [_row_cells(verdict) for verdict in each.verdicts])
    else:
        yield from _aligned(["element", "rows", "ends", "result"], list(_element_cells(each)))
    for step in each.unreached:
        yield f"  {step}: no sample reaches it; add tests/samples/{each.saga}.NAME.json"
    if each.outdated:
        yield f"  approved, and gone: {', '.join(each.outdated)}"


def _row_cells(verdict: Verdict) -> list[str]:
    return [verdict.row.name.partition("/")[2], verdict.ending.ends, str(verdict.result)]


def _element_cells(each: SagaVerdicts) -> Iterator[list[str]]:
    for name, verdicts in _by_element(each).items():
        ends = Counter(verdict.ending.ends.partition(",")[0] for verdict in verdicts)
        results = Counter(verdict.result for verdict in verdicts)
        said = ", ".join(
            f"{results[each]} {each}" for each in Result if each is not Result.OK and results[each]
        )
        yield [
            name,
            str(len(verdicts)),
            ", ".join(f"{number} {word}" for word, number in sorted(ends.items())),
            said or "ok",
        ]


def _by_element(each: SagaVerdicts) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for verdict in each.verdicts:
        found.setdefault(verdict.row.key or WHOLE, []).append(verdict)
    return found


def _aligned(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    for row in [head, *rows]:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _detail(verdict: Verdict, seed: int) -> Iterator[str]:
    yield f"{verdict.result.upper()} {verdict.row}"
    yield from (f"  {line}" for line in verdict.lines())
    if verdict.problems:
        yield from (f"  | {line}" for line in verdict.story)
    yield f"  again: {replay_command(verdict.row, seed)}"


def _not_ok(found: Sequence[SagaVerdicts]) -> Iterator[Verdict]:
    """What failed or changed, one by one; of what is new one of each kind of ending, since all of a saga may be."""
    shown: set[object] = set()
    for each in found:
        for verdict in each.verdicts:
            if verdict.result is Result.NEW:
                if (each.saga, verdict.ending) in shown:
                    continue
                shown.add((each.saga, verdict.ending))
            if not verdict.is_ok:
                yield verdict


# -- files ---------------------------------------------------------------------------------------------------------


def as_junit(found: Sequence[SagaVerdicts], seed: int) -> str:
    """XML as CI systems read it: a test suite for each saga, a test case for each row."""
    root = ElementTree.Element("testsuites", name="sagagen test --matrix")
    for each in found:
        failures = sum(not verdict.is_ok for verdict in each.verdicts)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=each.saga,
            tests=str(len(each.verdicts)),
            failures=str(failures),
            errors="0",
        )
        for verdict in each.verdicts:
            _case(suite, verdict, seed)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, verdict: Verdict, seed: int) -> None:
    row = verdict.row
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=".".join(part for part in (row.saga, row.key) if part),
        name=row.name.rpartition("/")[2],
        time=f"{verdict.seconds:.3f}",
    )
    if verdict.is_ok:
        return
    lines = verdict.lines()
    failure = ElementTree.SubElement(case, "failure", type=str(verdict.result), message=_xml(lines[0]))
    failure.text = _xml("\n".join([*lines, *verdict.story, f"again: {replay_command(row, seed)}"]))


def _xml(text: str) -> str:
    """Without the characters that XML can't hold."""
    return "".join(each if each in "\n\t" or each.isprintable() else "?" for each in text)


def as_markdown(found: Sequence[SagaVerdicts], seconds: float, seed: int) -> str:
    lines = [f"## Sagas: {summary(found, seconds)}", ""]
    for each in found:
        lines += [f"### `{each.saga}`", "", "| element | rows | ends | result |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(map(_plain, cells))} |" for cells in _element_cells(each)]
        lines += ["", *_endings(each), ""]
    for verdict in _not_ok(found):
        lines += [f"**{verdict.result}** `{_plain(verdict.row.name)}`", "", "```diff"]
        lines += [line.strip() if line.strip()[:1] in "+-" else line for line in verdict.lines()]
        lines += ["```", f"Again: `{replay_command(verdict.row, seed)}`", ""]
    return "\n".join(lines).rstrip() + "\n"


def _endings(each: SagaVerdicts) -> Iterator[str]:
    yield "<details><summary>what is left in the tables</summary>"
    yield ""
    yield "```"
    alike: dict[object, list[Verdict]] = {}
    for verdict in each.verdicts:
        alike.setdefault(verdict.ending, []).append(verdict)
    for verdicts in alike.values():
        first = verdicts[0]
        more = f" and {len(verdicts) - 1} more" if len(verdicts) > 1 else ""
        yield f"{first.row.name.partition('/')[2]}{more}"
        yield from (f"  {line}" for line in first.ending.lines())
    yield "```"
    yield "</details>"


def _plain(text: str) -> str:
    """The text, with nothing in it that acts as markup or ends the table."""
    return " ".join(text.replace("`", "'").replace("<", "&lt;").replace("|", "\\|").split())
