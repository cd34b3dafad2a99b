"""Can the invariants fail? Each rule that keeps one is taken out of the runtime, and the worlds must notice."""

import pytest
from kept_rules import RULES
from rules_taken_out import Rule, notices


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_that_is_taken_out_is_missed(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    rule.take_out(monkeypatch)
    assert notices(rule, 600), f"no world notices that {rule.name} no longer holds"
