"""Every code of the catalogue: its example provokes it and nothing else, its cure is clean, the docs say the same."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from contract_bench import ROOT

from sagagen.catalogue import ENTRIES, SECTIONS
from sagagen.catalogue.document import markdown
from sagagen.catalogue.entry import FILE_NAME, PROTO, SAGA_YAML, Entry
from sagagen.cli import main
from sagagen.cli.explain import explain
from sagagen.compatibility.rules import OWN_RULES
from sagagen.contract import Sources, load, resolve
from sagagen.contract.codes import Code
from sagagen.diagnostics import Diagnostic, Severity
from sagagen.emit.handler_contract import handler_contracts
from sagagen.expression.codes import Code as ExpressionCode
from sagagen.workspace.handler_codes import HandlerCode
from sagagen.workspace.handler_sync import sync_handler

BASE = Path(__file__).with_name("catalogue")
"""The contract that all examples are from, cured."""
GUARDS = {"SG006", "SG141", "SG165"}
"""Nothing that is known provokes them: buf, or a check of ours, comes first."""
ELSEWHERE = {"SG093", "SG167", "SG300"}
"""Needs sagas under way (tests/contract/test_kept_versions.py), a disk (tests/workspace/test_in_the_way.py), or the
command `check` (test_security_mistakes.py)."""
TOGETHER = [entry for entry in ENTRIES.values() if "SG040" <= entry.code <= "SG049" or entry.code == "SG024"]
"""Mistakes in rpcs that have nothing to do with each other: one run of buf for all of them."""
EXAMPLES = [entry for entry in ENTRIES.values() if entry.wrong]
HANDLER = """from generated.pb.shop.v1 import ChargePaymentRequest, ChargePaymentResponse, Nothing, RefundPaymentRequest
from generated.services.payment import PaymentHandlers
from sagagen.runtime import Call


class PaymentService(PaymentHandlers):
    async def charge_payment(self, request: ChargePaymentRequest, call: Call) -> ChargePaymentResponse:
        return ChargePaymentResponse()

    async def refund_payment(self, request: RefundPaymentRequest, call: Call) -> Nothing:
        return Nothing()
"""


@cache
def base() -> Sources:
    sources, found = load(BASE)
    assert found == ()
    return sources


def edited(text: str, wrong: str, right: str) -> str:
    assert text.count(right) == 1, (
        f"{right!r} stands {text.count(right)} times in the contract of the examples"
    )
    return text.replace(right, wrong)


def files(*edits: tuple[str, str, str]) -> dict[str, bytes]:
    """The base's files, edited: path, what stands there, what stands there then."""
    found = {
        path.relative_to(BASE).as_posix(): path.read_bytes() for path in BASE.rglob("*") if path.is_file()
    }
    for path, right, wrong in edits:
        found[path] = edited(found[path].decode(), wrong, right).encode()
    return found


def check(folder: Path, contents: dict[str, bytes]) -> tuple[Diagnostic, ...]:
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    sources, found = load(folder)
    return (*found, *resolve(sources)[1])


def provoked(entry: Entry, folder: Path) -> tuple[Diagnostic, ...]:
    edit = (entry.where, entry.right, entry.wrong)
    if entry.where == SAGA_YAML and not entry.also and entry.code != "SG004":
        return resolve(replace(base(), saga_yaml=edited(base().saga_yaml or "", entry.wrong, entry.right)))[1]
    if entry.where.startswith("handlers/"):
        return handler_findings(edit, *entry.also)
    if entry.where == FILE_NAME:
        contents = files()
        contents[entry.wrong] = contents.pop(entry.right)
        return check(folder, contents)
    contents = files(edit, *entry.also)
    if entry.code == "SG004":
        contents[entry.where] = contents[entry.where].decode().encode("latin-1")
    return check(folder, contents)


def handler_findings(*edits: tuple[str, str, str]) -> tuple[Diagnostic, ...]:
    mesh, _ = resolve(base())
    assert mesh is not None
    contract = next(found for found in handler_contracts(mesh) if found.path == "handlers/payment.py")
    text = HANDLER
    for _, right, wrong in edits:
        text = edited(text, wrong, right)
    return sync_handler(text.encode(), contract).findings


def codes(found: Iterable[Diagnostic]) -> list[str]:
    return sorted(str(finding.code) for finding in found)


def test_the_cured_contract_is_clean() -> None:
    mesh, found = resolve(base())
    assert found == ()
    assert mesh is not None
    assert handler_findings() == ()


@pytest.mark.parametrize("entry", [one for one in EXAMPLES if one not in TOGETHER], ids=lambda one: one.code)
def test_an_example_provokes_its_code_and_no_other(entry: Entry, tmp_path: Path) -> None:
    found = provoked(entry, tmp_path)
    assert codes(found) == sorted((entry.code, *entry.beside))
    finding = next(one for one in found if one.code == entry.code)
    assert (finding.severity is Severity.WARNING) == entry.is_warning
    assert (finding.severity is Severity.NOTE) == entry.is_note
    assert finding.hint


def test_examples_about_rpcs_provoke_their_codes_and_no_others(tmp_path: Path) -> None:
    text = files()[PROTO].decode()
    for entry in TOGETHER:
        text = edited(text, entry.wrong, entry.right)
    found = check(tmp_path, {**files(), PROTO: text.encode()})
    lines = text.splitlines()
    assert {(one.code, lines[one.at.line - 1].strip().partition(": ")[0]) for one in found} == {
        (entry.code, _line_of(text, entry).partition(": ")[0]) for entry in TOGETHER
    }
    warnings = {one.code for one in found if one.severity is Severity.WARNING}
    assert warnings == {entry.code for entry in TOGETHER if entry.is_warning}
    assert all(one.hint for one in found)


def _line_of(text: str, entry: Entry) -> str:
    return next(line for line in text.splitlines() if entry.wrong in line).strip()


def test_every_code_is_in_the_catalogue_and_has_an_example() -> None:
    reported = {*Code, *ExpressionCode, *HandlerCode, "SG140", "SG141", "SG142"}
    assert {str(code) for code in reported} == set(ENTRIES)
    assert {entry.code for entry in ENTRIES.values() if not entry.wrong} == GUARDS | ELSEWHERE
    assert sum(len(section.entries) for section in SECTIONS) == len(ENTRIES)


def test_no_other_code_is_reported() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "codegen" / "sagagen").rglob("*.py")]
    assert {code for text in sources for code in re.findall(r'"(SG\d{3})"', text)} == set(ENTRIES)


def test_the_document_is_made_of_the_catalogue() -> None:
    document = (ROOT / "docs" / "diagnostics.md").read_text("utf-8")
    assert document == markdown(), "run: sagagen explain --format markdown > docs/diagnostics.md"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(explain, [*arguments])


def test_a_code_is_explained_with_cause_example_and_cure() -> None:
    assert run("sg014").stdout == (
        "SG014: error\n"
        "Cause: A value of the wrong shape: a mapping in place of a list, a number in place of a text, or nothing.\n"
        "Example: in contracts/saga.yaml\n"
        "    - deadline: [60s]\n"
        "    + deadline: 60s\n"
        "Fix: Write the shape that the message names; quote a text that looks like a number.\n"
    )


@pytest.mark.parametrize("spelling", ["14", "sg14", "SG14", "sg014"])
def test_a_code_can_be_spelt_shorter(spelling: str) -> None:
    assert run(spelling).stdout.startswith("SG014: ")


@pytest.mark.parametrize("code", [*ENTRIES, *(rule.code for rule in OWN_RULES)])
def test_every_code_can_be_explained(code: str) -> None:
    said = run(code)
    assert said.exit_code == 0
    assert said.stdout.startswith(f"{code}: ")
    assert "Cause: " in said.stdout


def test_without_a_code_all_are_listed() -> None:
    lines = run().stdout.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  S")]
    assert sorted(listed) == sorted([*ENTRIES, *(rule.code for rule in OWN_RULES)])


def test_a_code_that_there_is_not_gets_the_nearest() -> None:
    said = run("SG654")
    assert said.exit_code == 2
    assert re.search(r'there is no code "SG654": did you mean "SG\d65"', said.stderr)
    assert "`sagagen explain` lists all" in run("nonsense").stderr


def test_the_command_line_knows_explain() -> None:
    assert "SG065: error" in CliRunner().invoke(main, ["explain", "SG065"]).stdout
