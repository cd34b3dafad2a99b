"""The rules and boards of a saga that waits, hears events and may give up: Prometheus' own tools read and try them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from promtool import ROOT, fires, write_rules
from yaml_files import read_yaml

from sagagen.contract import read_contract
from sagagen.contract.model import Mesh
from sagagen.emit.boards import SagaBoard
from sagagen.emit.dashboards import saga_board
from sagagen.emit.rules_view import LATE_AFTER_S

FOOD = ROOT / "tests" / "golden" / "second-edition-everything"
HOUR_S, DAY_S = 3600.0, 86400.0
FAULTS = {
    "SagaEventUnconsumed_place_order": {
        'sagagen_saga_unconsumed_events_total{saga="place_order",event="answered"}': "0+1x400"
    },
    "SagaGaveUp_place_order": {
        'sagagen_saga_give_ups_total{saga="place_order",version="1",step="send_mail"}': "0+1x400"
    },
}
"""What a fault looks like in the metrics, minute by minute."""


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    found, findings = read_contract(FOOD)
    assert found, findings
    return found


@pytest.fixture(scope="module")
def rules(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rules(mesh, tmp_path_factory.mktemp("rules") / "rules.yaml")


def alerts(rules: Path) -> dict[str, str]:
    """Name -> expression."""
    groups = read_yaml(rules.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_it_has_the_alerts_of_any_saga_and_its_own(rules: Path) -> None:
    shop = ROOT / "generated" / "deploy" / "prometheus" / "rules.yaml"
    assert alerts(rules).keys() - alerts(shop).keys() >= FAULTS.keys()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed here")
@pytest.mark.parametrize("alert", sorted(FAULTS))
def test_an_alert_fires_at_its_fault_and_at_no_other_time(tmp_path: Path, rules: Path, alert: str) -> None:
    assert fires(tmp_path / "fault", rules, alert, FAULTS[alert])
    assert not fires(tmp_path / "calm", rules, alert, dict.fromkeys(FAULTS[alert], "7x400"))


def test_what_it_waits_before_its_start_and_after_its_pivot_makes_it_late_later(rules: Path) -> None:
    """Its deadline is 2h; it starts at most 14d later, and a day passes before its mail."""
    longest_s = 14 * DAY_S + 2 * HOUR_S + DAY_S
    assert alerts(rules)["SagaUnfinished_place_order"].endswith(f"> {longest_s + LATE_AFTER_S:.12g}")


def test_its_board_shows_each_wait_and_what_became_of_events(mesh: Mesh) -> None:
    queries = _queries(saga_board(SagaBoard.of(mesh, mesh.sagas[0])))
    for step in ("answer", "let_it_simmer", "picked_up", "a_day_later"):
        of = f'saga="place_order",step="{step}"'
        assert any(f"sagagen_saga_waiting{{{of}}}" in query for query in queries)
        assert any(f"sagagen_saga_waited_seconds_bucket{{{of}}}" in query for query in queries)
    for name in ("events", "unconsumed_events", "give_ups"):
        assert any(f"sagagen_saga_{name}_total" in query for query in queries)


def test_its_board_and_rules_ask_for_metrics_that_there_are(mesh: Mesh, rules: Path) -> None:
    known = set(re.findall(r"`(sagagen_\w+)`", (ROOT / "docs" / "metrics.md").read_text()))
    asked = " ".join([*_queries(saga_board(SagaBoard.of(mesh, mesh.sagas[0]))), *alerts(rules).values()])
    names = {
        name.removesuffix("_bucket").removesuffix("_count") for name in re.findall(r"sagagen_\w+", asked)
    }
    assert names - known == set()


def _queries(board: str) -> list[str]:
    panels: list[dict[str, Any]] = json.loads(board)["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]
