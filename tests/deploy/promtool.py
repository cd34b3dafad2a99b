"""Prometheus' own test runner over emitted rules."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from yaml_files import write_yaml

from sagagen.contract.model import Mesh
from sagagen.emit.rules_view import rules_view
from sagagen.emit.templates import render_template

ROOT = Path(__file__).parents[2]


def write_rules(mesh: Mesh, to: Path) -> Path:
    to.write_text(render_template("rules.yaml.j2", rules_view(mesh)), encoding="utf-8")
    return to


def fires(folder: Path, rules: Path, alert: str, series: Mapping[str, str]) -> bool:
    """Whether it fires, six hours in. promtool only compares: what it got stands in its complaint."""
    folder.mkdir()
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test: dict[str, object] = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": inputs,
                "alert_rule_test": [{"eval_time": "370m", "alertname": alert, "exp_alerts": []}],
            }
        ],
    }
    file = write_yaml(folder / "test.yaml", test)
    ran = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0 or re.search(r"got:\[", said.replace(" ", "")), said
    return ran.returncode != 0
