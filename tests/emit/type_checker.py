"""The strict type checker over a project."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CODEGEN = Path(__file__).parents[2] / "codegen"


def type_errors(root: Path) -> list[str]:
    """What basedpyright in strict mode finds in a project, one `file:line: message` each."""
    settings = {
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "include": ["generated", "handlers", "gateway"],
        "extraPaths": [str(CODEGEN), "."],
        "reportMissingTypeStubs": False,
    }
    root.joinpath("pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > 5, done.stderr
    return [
        f"{Path(found['file']).relative_to(root.resolve())}:{found['range']['start']['line'] + 1}: {found['message']}"
        for found in report["generalDiagnostics"]
    ]
