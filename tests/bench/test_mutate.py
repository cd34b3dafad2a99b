"""`bench/mutate.py`: which changes it makes, and what it says of a line that a test holds and of one that none does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from thorough import for_a_release

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import mutate  # noqa: E402 - bench is no package

TEXT = '''"""A docstring with a 1 in it."""

LIMIT = 3


@dataclass(frozen=True)
class Café:
    def check(self, size: int = 0) -> str:
        _logger.info("looking", size=size)
        if not self.is_open and size < LIMIT:
            self.shut()
        return "ü" if size else ""


async def wait(work):
    await work
    for each in work:
        if each is None:
            continue
        return each + 1
'''


def test_each_operator_changes_what_it_should_and_nothing_else() -> None:
    found = {(each.operator, each.was, each.now) for each in mutate.mutants_of("module.py", TEXT)}
    assert found == {
        ("constant + 1", "3", "4"),
        ("constant - 1", "3", "(2)"),
        ("constant + 1", "0", "1"),
        ("constant - 1", "0", "(-1)"),
        ("and/or", "not self.is_open and size < LIMIT", "((not self.is_open) or (size < LIMIT))"),
        ("drop operand", "not self.is_open and size < LIMIT", "(not self.is_open)"),
        ("drop operand", "not self.is_open and size < LIMIT", "(size < LIMIT)"),
        ("negate condition", "not self.is_open and size < LIMIT", "not (not self.is_open and size < LIMIT)"),
        ("drop not", "not self.is_open", "(self.is_open)"),
        ("swap comparison", "size < LIMIT", "(size <= LIMIT)"),
        ("swap comparison", "size < LIMIT", "(size >= LIMIT)"),
        ("drop call", "self.shut()", "pass"),
        ("return constant", 'return "ü" if size else ""', 'return ""'),
        ("negate condition", "size", "not (size)"),
        ("drop call", "await work", "pass"),
        ("swap comparison", "each is None", "(each is not None)"),
        ("continue/break", "continue", "break"),
        ("return constant", "return each + 1", "return None"),
        ("swap operator", "each + 1", "((each) - (1))"),
        ("constant + 1", "1", "2"),
        ("constant - 1", "1", "(0)"),
    }


def test_a_mutant_is_a_change_of_one_place_and_still_python() -> None:
    for mutant in mutate.mutants_of("module.py", TEXT):
        changed = mutate.mutated(TEXT, mutant)
        assert changed != TEXT
        assert changed.encode().startswith(TEXT.encode()[: mutant.start])
        assert changed.encode().endswith(TEXT.encode()[mutant.end :])


THOROUGH = """
import random

from sagagen.runtime.model.definition import Retry
from sagagen.runtime.saga.retry import backoff_s


def test_retry():
    retry = Retry(initial_s=1.0, multiplier=3.0, max_s=20.0)
    cases = [(0, 5.0), (1, None), (2, -1.0), (3, 7.0), (4, 99.0), (5000, None)]
    for seed, (failures, asked_s) in enumerate(cases):
        ceiling_s = {0: 0.0, 1: 1.0, 2: 3.0, 3: 9.0}.get(failures, 20.0)
        added_s = {7.0: 7.0, 99.0: 60.0}.get(asked_s, 0.0)
        drawn_s = added_s + random.Random(seed).uniform(0.0, ceiling_s) if failures else 0.0
        assert backoff_s(retry, failures, asked_s, random.Random(seed)) == drawn_s
"""
"""It is itself small, and stands beside no conftest."""


@for_a_release
@pytest.mark.slow
def test_a_run_says_what_no_test_minds_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out = tmp_path / "mutants.jsonl"
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    import sagagen.runtime.saga.retry\n")
    (tmp_path / "test_retry.py").write_text(THOROUGH)

    def run(tests: str, *options: str) -> str:
        script, module = str(ROOT / "bench" / "mutate.py"), "codegen/sagagen/runtime/saga/retry.py"
        command = [
            sys.executable,
            script,
            module,
            "--tests",
            tests,
            "--out",
            str(out),
            "--sample",
            "1",
            *options,
        ]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert "1 killed" in run(str(tmp_path / "test_retry.py"))
    assert "1 survived" in run(str(tmp_path / "test_nothing.py"))
    again = run(str(tmp_path / "test_retry.py"))
    assert ("at most" in again, "1 killed" in again) == (False, True)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["result"] for line in lines] == ["killed", "survived"]
    assert "test_retry" in lines[0]["by"]
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    raise AssertionError\n")
    with pytest.raises(subprocess.CalledProcessError):
        run(str(tmp_path / "test_nothing.py"), "--again")  # the tests fail without any mutant
