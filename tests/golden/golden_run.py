"""What becomes of many cases: each generated, all of them type-checked and imported in one process each."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_corpus import ANSWERS, CORPUS, EMITTED, IMPORTS, TYPES, Case, Texts, has_generated, outcome

CODEGEN = CORPUS.parents[1] / "codegen"
TESTS = CORPUS.parent
LIFE = Path(__file__).with_name("golden_life.py")
LIMIT_S = 900
"""Of a program that needs a minute at most where nothing else runs."""


def outcomes(cases: Sequence[Case], folder: Path) -> dict[str, Texts]:
    """By name, of all of them: what they print, emit and answer, and what is wrong with what they emit."""
    folder = folder.resolve()
    found = {case.name: outcome(case, folder / case.name) for case in cases}
    return tried(found, folder, {case.name: case.requests for case in cases})


def tried(found: Mapping[str, Texts], folder: Path, requests: Mapping[str, str]) -> dict[str, Texts]:
    """What is generated in `folder`, by name, with what the type checker says of it, and what it does."""
    whole = [name for name, texts in found.items() if has_generated(texts)]
    lives = _lives({name: requests.get(name, "") for name in whole}, folder)
    types: Mapping[str, str] = _type_errors(whole, folder) if whole else {}
    seen = {
        name: {
            TYPES: types.get(name, ""),
            IMPORTS: _without_paths(lives[name]["imports"], folder),
            ANSWERS: lives[name]["answers"],
        }
        for name in whole
    }
    return {name: {**texts, **seen.get(name, {})} for name, texts in found.items()}


def _type_errors(whole: Sequence[str], folder: Path) -> Mapping[str, str]:
    """By name of the case, what basedpyright in strict mode finds in what it emits, handler stubs included."""
    roots = [{"root": name, "extraPaths": [str(CODEGEN)]} for name in whole]
    settings = {
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "include": [f"{name}/{package}" for name in whole for package in EMITTED],
        "executionEnvironments": roots,
        "reportMissingTypeStubs": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=LIMIT_S
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > 5 * len(whole), done.stderr
    errors: dict[str, str] = {}
    for one in report["generalDiagnostics"]:
        path = Path(one["file"]).relative_to(folder)
        case, line = path.parts[0], one["range"]["start"]["line"] + 1
        errors[case] = errors.get(case, "") + f"{Path(*path.parts[1:]).as_posix()}:{line}: {one['message']}\n"
    return errors


def _lives(requests: Mapping[str, str], folder: Path) -> Mapping[str, Mapping[str, str]]:
    asked = {str(folder / name): asked for name, asked in requests.items()}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(LIFE)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{CODEGEN}{os.pathsep}{TESTS}", "PYTHONDONTWRITEBYTECODE": "1"},
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return {Path(root).name: life for root, life in json.loads(done.stdout).items()}


def _without_paths(text: str, folder: Path) -> str:
    return re.sub(re.escape(f"{folder}/"), "", text)
