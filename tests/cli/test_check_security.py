"""`sagagen check --security`: what the reviewer's page says, at a terminal and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sagagen.cli import main
from sagagen.runtime.settings import ADMIN_TOKEN, SECRETS

REPOSITORY = Path(__file__).parents[2]
GUARDED = REPOSITORY / "tests" / "golden" / "security-documents"


def checked(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["check", "--project", str(project), "--security", *words])


@pytest.fixture(scope="module")
def report() -> Any:
    done = checked(GUARDED, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def route(report: Any, path: str) -> Any:
    return next(each for each in report["routes"] if f"{each['verb']} {each['path']}" == path)


def test_a_program_reads_who_may_call_a_route_and_what_is_hidden_and_kept(report: Any) -> None:
    place = route(report, "POST /orders")
    assert place["schemes"] == ["customers", "partners"]
    assert place["scopes"] == ["orders.write", "orders.pay"]
    assert place["rules"] == [{"rule": "request.customer == caller", "is_written": True, "otherwise": 403}]
    assert place["redacted"] == ["request.card.number"]
    assert place["body"] == "16KiB"
    assert place["kept"] == ["input and answer: 60d after the saga has ended"]
    read = route(report, "GET /orders/{id}")
    assert [each["otherwise"] for each in read["rules"]] == [404]
    assert read["redacted"] == ["response.note"]
    assert read["kept"] == []
    assert route(report, "GET /count")["schemes"] == []


def test_rules_of_events_and_cancels_stand_at_their_routes(report: Any) -> None:
    assert route(report, "POST /orders/{id}:paid")["rules"][0]["rule"] == "caller == 'bank'"
    cancel = route(report, "POST /orders/{id}:cancel")["rules"]
    assert cancel == [{"rule": "the caller has started the saga", "is_written": False, "otherwise": 403}]


def test_a_person_reads_the_same(report: Any) -> None:
    said = checked(GUARDED).stdout
    for words in (
        "POST /orders  starts place\n",
        "  may call  customers or partners\n",
        "  rule      response.customer == caller || 'clerks' in claims.groups (otherwise 404)\n",
        "  a second operator confirms: resolve, skip\n",
        "  ledger: called by gateway, orders; remembers calls for 60d\n",
        "  https://orders.example\n",
    ):
        assert words in said
    assert ADMIN_TOKEN not in said, "it opens nothing where operators have roles"
    for setting in report["secrets"]:
        assert f"  {setting['name']}: {setting['what']}\n" in said


def test_without_the_section_it_says_that_everybody_may_call() -> None:
    said = checked(REPOSITORY).stdout
    assert said.startswith("shop says `security: none`: whoever reaches the gateway may call every route.\n")
    assert said.count("  may call  anybody\n") == 3 + 6
    assert "shop.payment.v1.ChargePaymentRequest.customer_id" in said, "redacted all the same"
    for setting in SECRETS - {"SAGAGEN_API_KEYS"}:  # which it takes none of
        assert f"  {setting}: " in said


def test_a_contract_with_errors_is_told_instead(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "saga.yaml").write_text("version: v1\n")
    done = checked(tmp_path)
    assert done.exit_code == 1
    assert "error[SG" in done.stdout


def test_no_annotations_are_made_of_it() -> None:
    assert checked(REPOSITORY, "--format", "github").exit_code == 2
