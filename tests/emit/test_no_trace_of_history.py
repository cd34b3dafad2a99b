"""What is in generated/ follows from the contract and the versions alone, not from what was there before."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest
from project_copy import PROJECTS, SHOP, run_generate

from sagagen.cache import FOLDER

PROTO, SAGA, EXTRA = (
    "contracts/tiny/v1/counter.proto",
    "contracts/saga.yaml",
    "contracts/extra/v1/extra.proto",
)
MANIFEST = Path("generated/manifest.json")

Texts = dict[str, str]
"""Path -> what the file says."""


def generated(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "generated").rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def generate(root: Path) -> None:
    result = run_generate(root)
    assert result.exit_code == 0, result.output


def copy_of(project: Path, root: Path) -> Path:
    """Contract, handlers and gateway; nothing that was generated, and nothing remembered."""
    for folder in ("contracts", "handlers", "gateway"):
        if (project / folder).is_dir():
            shutil.copytree(project / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.mark.slow
def test_the_shop_of_the_repository_comes_from_nothing_as_it_is_committed(tmp_path: Path) -> None:
    root = copy_of(SHOP, tmp_path / "shop")
    generate(root)
    assert generated(root) == generated(SHOP)


def replacing(path: str, old: str, new: str) -> Callable[[Texts], Texts]:
    def edited(texts: Texts) -> Texts:
        assert old in texts[path]
        return {**texts, path: texts[path].replace(old, new, 1)}

    return edited


def with_a_second_saga(texts: Texts) -> Texts:
    saga = re.search(r"  count_up:\n(?: {4}.*\n)*", texts[SAGA])
    assert saga
    other = saga[0].replace("count_up:", "count_more:").replace("/CountUp", "/CountMore")
    rpc = "  rpc CountMore(CountUpRequest) returns (CountUpResponse);\n"
    front = "service FrontService {\n"
    return {**texts, SAGA: texts[SAGA] + other, PROTO: texts[PROTO].replace(front, front + rpc)}


EDITS: Mapping[str, Callable[[Texts], Texts]] = {
    "a field": replacing(PROTO, "message AddResponse {\n", "message AddResponse {\n  string note = 2;\n"),
    "a comment": replacing(PROTO, "message CountUpRequest", "// By how much.\nmessage CountUpRequest"),
    "a deadline": replacing(SAGA, "deadline: 10s", "deadline: 11s"),
    "a service's option": replacing(SAGA, "CounterService] }", "CounterService], retention: 40d }"),
    "a package": lambda texts: {
        **texts,
        EXTRA: 'syntax = "proto3";\n\npackage extra.v1;\n\n// Unused.\nmessage Extra {}\n',
    },
    "a saga": with_a_second_saga,
}


def contract(edits: frozenset[str]) -> Texts:
    """The contract of the tiny project with these edits, whatever their order was."""
    texts = {path: (PROJECTS / "tiny" / path).read_text("utf-8") for path in (PROTO, SAGA)}
    for name, edit in EDITS.items():
        if name in edits:
            texts = edit(texts)
    return texts


def write_contract(root: Path, edits: frozenset[str]) -> None:
    shutil.rmtree(root / "contracts")
    for path, text in contract(edits).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")


@pytest.fixture(scope="session")
def from_nothing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[frozenset[str]], dict[str, bytes]]:
    known: dict[frozenset[str], dict[str, bytes]] = {}

    def made(edits: frozenset[str]) -> dict[str, bytes]:
        if edits not in known:
            root = copy_of(PROJECTS / "tiny", tmp_path_factory.mktemp("tiny") / "tiny")
            write_contract(root, edits)
            generate(root)
            known[edits] = generated(root)
        return known[edits]

    return made


@pytest.mark.slow
@pytest.mark.parametrize("last", sorted(EDITS))
def test_any_history_that_ends_at_a_contract_gives_the_same_bytes(
    from_nothing: Callable[[frozenset[str]], dict[str, bytes]], last: str, tmp_path: Path
) -> None:
    """Some edits in any order, then one more, which is undone again. The seed is the last one's name."""
    root = copy_of(PROJECTS / "tiny", tmp_path / "tiny")
    before = Random(last).sample(sorted(EDITS.keys() - {last}), k=3)
    histories = [frozenset(before[:n]) for n in (1, 3)]
    for edits in (*histories, histories[-1] | {last}, histories[-1]):
        write_contract(root, edits)
        generate(root)
        assert generated(root) == from_nothing(edits)


@pytest.mark.slow
def test_without_the_cache_nothing_is_written_anew(tiny: Path) -> None:
    before = generated(tiny)
    shutil.rmtree(tiny / FOLDER)
    assert "nothing to do" in run_generate(tiny).output
    assert generated(tiny) == before


@pytest.mark.slow
def test_check_compares_the_manifest_too(tiny: Path) -> None:
    made = (tiny / MANIFEST).read_bytes()
    said: dict[str, dict[str, str]] = json.loads(made)
    others = [said | {"made_from": {}}, said | {"files": {**said["files"], "gone.py": "0" * 64}}]
    for other in others:
        (tiny / MANIFEST).write_text(json.dumps(other, indent=2) + "\n", "utf-8")
        result = run_generate(tiny, "--check")
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [f"changed  {MANIFEST.as_posix()}"]
        generate(tiny)
        assert (tiny / MANIFEST).read_bytes() == made
        assert run_generate(tiny, "--check").exit_code == 0
