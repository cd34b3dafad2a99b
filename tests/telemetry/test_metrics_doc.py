"""docs/metrics.md and the code say the same; Prometheus' own linter has nothing to add."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from sagagen.runtime.telemetry import metrics
from sagagen.runtime.telemetry.instruments import Instrument

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, -]+) \| (.+) \|$", re.MULTILINE)
NO_IDS = {"saga_id", "trace_id", "span_id", "run", "key", "caller"}


def in_the_code() -> dict[str, tuple[str, str, str]]:
    found: dict[str, tuple[str, str, str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, Instrument):
            name = metric.name + ("_total" if metric.kind == "counter" else "")
            found[name] = (metric.kind, ", ".join(metric.label_names) or "-", metric.documentation)
        elif isinstance(metric, MetricWrapperBase):
            own: Any = metric  # which tells its labels to nobody
            labels = ", ".join(own._labelnames) or "-"
            found[own._name] = (own._type, labels, own._documentation)
    return found


def test_the_document_lists_what_the_code_has() -> None:
    listed = {name: (kind, labels, text) for name, kind, labels, text in ROW.findall(DOCUMENT.read_text())}
    assert listed == in_the_code()


def test_no_label_takes_an_id() -> None:
    assert not [name for name, (_, labels, _) in in_the_code().items() if NO_IDS & set(labels.split(", "))]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed here")
def test_prometheus_linter_has_nothing_to_add() -> None:
    ours = generate_latest().decode()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False
    )
    assert not [line for line in checked.stderr.splitlines() if line.startswith(("sagagen", "http", "rpc"))]
