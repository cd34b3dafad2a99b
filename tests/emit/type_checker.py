"""The strict type checker over a project."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from waiting import LIMIT_S

CODEGEN = Path(__file__).parents[2] / "codegen"
PARTS = ("generated", "handlers", "gateway")


def type_errors(root: Path) -> list[str]:
    """What basedpyright in strict mode finds in a project, one `file:line: message` each."""
    return type_errors_of([root])[root]


def type_errors_of(roots: Sequence[Path]) -> Mapping[Path, list[str]]:
    """The same of several projects, by one run: reading Python's own types is most of what it takes."""
    settings = {
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "include": [str(root.resolve() / part) for root in roots for part in PARTS if (root / part).exists()],
        "executionEnvironments": [
            {"root": str(root.resolve()), "extraPaths": [str(CODEGEN)]} for root in roots
        ],
        "reportMissingTypeStubs": False,
    }
    with TemporaryDirectory() as folder:
        Path(folder, "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=2 * LIMIT_S,
        )
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > 5 * len(roots), done.stderr
    found: dict[Path, list[str]] = {root: [] for root in roots}
    for one in report["generalDiagnostics"]:
        file = Path(one["file"])
        root = next(root for root in roots if file.is_relative_to(root.resolve()))
        line = one["range"]["start"]["line"] + 1
        found[root].append(f"{file.relative_to(root.resolve())}:{line}: {one['message']}")
    return found
