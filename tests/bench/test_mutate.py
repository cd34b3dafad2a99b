"""`bench/mutate.py`: which changes it makes, and what it says of a line that a test holds and of one that none does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_a_run_says_what_no_test_minds_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out = tmp_path / "mutants.jsonl"
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    import sagagen.runtime.saga.retry\n")

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

    assert "1 killed" in run("tests/engine/test_retry_backoff.py")
    assert "1 survived" in run(str(tmp_path / "test_nothing.py"))
    again = run("tests/engine/test_retry_backoff.py")
    assert ("at most" in again, "1 killed" in again) == (False, True)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["result"] for line in lines] == ["killed", "survived"]
    assert "test_retry_backoff" in lines[0]["by"]
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    raise AssertionError\n")
    with pytest.raises(subprocess.CalledProcessError):
        run(str(tmp_path / "test_nothing.py"), "--again")  # the tests fail without any mutant
