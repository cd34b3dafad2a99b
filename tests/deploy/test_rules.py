"""Prometheus' own tools read the emitted rules, and every alert of them can fire."""

import shutil
import subprocess
from pathlib import Path

import pytest
from promtool import ROOT, fires
from yaml_files import read_yaml

RULES = ROOT / "generated" / "deploy" / "prometheus" / "rules.yaml"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed here")

FAULTS: dict[str, dict[str, str]] = {
    "SagaStuck": {'sagagen_sagas_stuck{saga="place_order",version="1"}': "1x400"},
    "SagaCompensationFails": {
        'sagagen_step_attempts_total{saga="s",step="t",direction="compensation",outcome="DOUBT"}': "0+1x400"
    },
    "SagaVersionMissing": {'sagagen_sagas_waiting_for_version{saga="place_order",version="2"}': "1x400"},
    "EngineNotDriving": {
        'sagagen_engine_undriven_sagas{saga="place_order",instance="gateway:9090"}': "1x400"
    },
    "EngineWedged": {'sagagen_engine_wedged_sagas{saga="place_order"}': "1x400"},
    "SagaLogDiskFull": {"sagagen_log_disk_full": "1x400"},
    "SagaLogCommitsSlow": {
        'sagagen_log_commit_duration_seconds_bucket{le="0.25"}': "0x400",
        'sagagen_log_commit_duration_seconds_bucket{le="1.0"}': "0+60x400",
        'sagagen_log_commit_duration_seconds_bucket{le="+Inf"}': "0+60x400",
    },
    "RedisAway": {'sagagen_redis_breaker_open{job="shop",instance="order:8081"}': "1x400"},
    "MeshProcessDown": {'up{job="shop",instance="order:8081"}': "0x400"},
    "SagaErrorBudgetBurn_place_order_fast": {
        'sagagen_saga_duration_seconds_bucket{saga="place_order",le="60.0"}': "0+5x400",
        'sagagen_saga_duration_seconds_count{saga="place_order"}': "0+10x400",
    },
    "SagaErrorBudgetBurn_place_order_slow": {
        'sagagen_saga_duration_seconds_bucket{saga="place_order",le="60.0"}': "0+90x400",
        'sagagen_saga_duration_seconds_count{saga="place_order"}': "0+100x400",
    },
    "SagaUnfinished_place_order": {
        'sagagen_oldest_unfinished_saga_age_seconds{saga="place_order"}': "0+60x400"
    },
}
"""What a fault looks like in the metrics, minute by minute."""


def alerts() -> list[str]:
    groups = read_yaml(RULES.read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_has_a_fault_here() -> None:
    assert sorted(alerts()) == sorted(FAULTS)


@needs_promtool
@pytest.mark.parametrize("configuration", ["prometheus.yaml", "prometheus.postgres.yaml"])
def test_promtool_accepts_rules_and_configuration(configuration: str) -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", RULES.with_name(configuration)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_promtool
@pytest.mark.parametrize("alert", sorted(FAULTS))
def test_an_alert_fires_at_its_fault_and_at_no_other_time(tmp_path: Path, alert: str) -> None:
    assert fires(tmp_path / "fault", RULES, alert, FAULTS[alert])
    assert not fires(tmp_path / "calm", RULES, alert, _calm(FAULTS[alert]))


def _calm(series: dict[str, str]) -> dict[str, str]:
    """The same series while nothing is wrong."""
    flat = {name: ("1x400" if name.startswith("up{") else "0x400") for name in series}
    if any("saga_duration" in name for name in series):
        return dict.fromkeys(series, "0+100x400")
    return dict.fromkeys(series, "0+60x400") if any("commit_duration" in name for name in series) else flat
