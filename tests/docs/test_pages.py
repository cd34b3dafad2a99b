"""The pages of generated/docs: what other contracts than the shop's bring in, and words that must not become markup."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stack import REPOSITORY

from sagagen.contract import read_contract
from sagagen.emit.docs_text import code, in_words, label, quoted, repeats
from sagagen.emit.plan import plan
from sagagen.runtime.model.definition import Retry
from sagagen.runtime.rpc.errors import Code

TESTS = Path(__file__).parents[1]
PROJECTS = {
    "shop": REPOSITORY,
    "museum": TESTS / "projects" / "nested",
    "tiny": TESTS / "projects" / "tiny",
}


@cache
def pages(project: str) -> Mapping[str, str]:
    """By name, without the folder."""
    mesh, findings = read_contract(PROJECTS[project])
    assert mesh, findings
    docs = [file for file in plan(mesh) if file.path.startswith("generated/docs/")]
    return {Path(file.path).name: str(file.render()) for file in docs if file.path.endswith(".md")}


def row(page: str, *starts: str) -> list[str]:
    """The cells of the table row that begins with these cells."""
    for line in page.split("\n"):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if cells[: len(starts)] == list(starts):
            return cells
    raise AssertionError(f"no row {starts} in:\n{page}")


def test_a_read_has_nothing_to_undo_and_a_retriable_step_waits_for_an_operator() -> None:
    page = pages("museum")["open_exhibit_v3.md"]
    assert row(page, "1", "`look`")[2:] == [
        "read",
        "`exhibits/Look`",
        "2s",
        "after 50ms, then x2 up to 2s; until the saga's deadline",
        "nothing to undo",
        "",
    ]
    assert row(page, "`import`", "the service declines")[2:4] == [
        "`plan` by `exhibits/Scrap`",
        "`COMPENSATED`",
    ]
    stuck = row(page, "`announce`", "the service declines")
    assert stuck[2:] == [
        "nothing",
        "`STUCK` after 1d: it waits for an operator",
        "`202`, and `409` for the same key, until there is an answer",
    ]


def test_what_is_left_as_it_is_is_said() -> None:
    page = pages("museum")["buy_ticket_v1.md"]
    assert row(page, "2", "`post`")[6] == "left as it is"
    assert row(page, "`check`", "the service declines")[2:] == [
        "`reserve` by `tickets/Release`; `post` stays as it is",
        "`COMPENSATED`",
        "`202` at once, then `400` with the service's `reason`",
    ]


def test_the_index_names_every_saga_service_and_route() -> None:
    for project in PROJECTS:
        mesh, _ = read_contract(PROJECTS[project])
        assert mesh
        index = pages(project)["index.md"]
        links = re.findall(r"\]\((\w+\.md)\)", index)
        assert sorted(links) == sorted(name for name in pages(project) if name != "index.md")
        for service in mesh.services:
            assert row(index, f"`{service.name}`", str(service.port))
        for route in mesh.routes:
            assert row(index, f"`{route.verb} {route.template}`")


def test_a_kept_version_has_a_page_that_leads_to_the_newest(tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    shutil.copytree(PROJECTS["tiny"], root)
    text = root.joinpath("contracts", "saga.yaml").read_text(encoding="utf-8")
    saga = text[text.index("    version: 1") :]
    (root / "contracts" / "sagas").mkdir()
    kept = "\n".join(line.removeprefix("    ") for line in saga.split("\n"))
    (root / "contracts" / "sagas" / "count_up.v1.yaml").write_text(kept, encoding="utf-8")
    newer = text.replace("version: 1", "version: 2")
    (root / "contracts" / "saga.yaml").write_text(newer, encoding="utf-8")
    mesh, findings = read_contract(root)
    assert mesh, findings
    rendered = {file.path: file for file in plan(mesh)}
    old = str(rendered["generated/docs/count_up_v1.md"].render())
    assert "[the newest](count_up_v2.md)" in old
    assert "An older version" not in str(rendered["generated/docs/count_up_v2.md"].render())


@given(st.text())
def test_a_comment_stays_in_its_quote(text: str) -> None:
    lines = quoted(text)
    assert all(line.startswith(">") for line in lines)
    assert not any("\n" in line or "<" in line for line in lines)


@given(st.text(alphabet="ab|`{}* ", min_size=1))
def test_code_in_a_table_never_ends_its_cell(text: str) -> None:
    assert "|" not in code(text).replace("\\|", "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (0.05, "50ms"), (1.5, "1s500ms"), (60, "1m"), (129600, "1d12h"), (2592000, "30d")],
)
def test_durations_are_written_as_the_contract_writes_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_retries_say_what_ends_them() -> None:
    usual = Retry(initial_s=0.1, multiplier=2.0, max_s=1.0, max_attempts=3)
    assert repeats(usual, "until dawn") == "after 100ms, then x2 up to 1s; at most 3 attempts, until dawn"
    picky = Retry(initial_s=0.1, multiplier=1.5, max_s=1.0, codes=frozenset({Code.ABORTED}))
    assert repeats(picky, "until dawn") == "after 100ms, then x1.5 up to 1s, only on ABORTED; until dawn"
    for never in (Retry(0.1, 2.0, 1.0, max_attempts=1), Retry(0.1, 2.0, 1.0, codes=frozenset())):
        assert repeats(never, "until dawn") == "never"


def parsed(mermaid: Path, diagrams: Mapping[str, str]) -> Mapping[str, str]:
    """What Mermaid takes each for."""
    script = Path(__file__).with_name("parse_mermaid.mjs")
    done = subprocess.run(
        ["node", str(script), str(mermaid)],
        input=json.dumps(diagrams),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_mermaid_reads_every_diagram(mermaid: Path) -> None:
    diagrams = {
        f"{project} {name} {number}": diagram
        for project in PROJECTS
        for name, page in pages(project).items()
        for number, diagram in enumerate(re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL))
    }
    said = parsed(mermaid, diagrams)
    assert len(said) >= 3 * 3
    assert set(said.values()) == {"sequence", "stateDiagram"}, said


@pytest.mark.slow
def test_no_word_of_a_contract_breaks_a_diagram(mermaid: Path) -> None:
    words = [
        "end",
        "GET /v1/{name=a/*}:end",
        "state",
        "a;b#c%%d",
        "note over",
        '"quoted" <b> `x`',
        "loop",
        "-->>",
    ]
    sequences = {
        f"sequence {word}": "sequenceDiagram\n    participant client as Client\n"
        f"    participant s1 as {label(word)}\n    client->>s1: {label(word)}\n"
        for word in words
    }
    diagrams = {
        f"state {word}": f'stateDiagram-v2\n    state "{label(word)}" as step1\n    [*] --> step1\n'
        for word in words
    }
    said = parsed(mermaid, {**sequences, **diagrams})
    assert {name: kind for name, kind in said.items() if kind.startswith("error")} == {}
    broken = parsed(mermaid, {"broken": "sequenceDiagram\n    participant\n    ->>: x"})
    assert broken["broken"].startswith("error"), "a parser that takes everything proves nothing"
