"""How many refusals the audit keeps one by one."""

from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.audit.refusals import EACH_CALLER, MAX_CALLERS, STRANGERS, WINDOW_S, RefusalAllowance


class Hand:
    s = 0.0

    def __call__(self) -> float:
        return self.s


def refused(by: str, result: Result = Result.DENIED) -> AuditEntry:
    return AuditEntry(1, by, "list", result, reason="no")


def test_strangers_share_an_allowance_and_each_caller_has_its_own() -> None:
    hand = Hand()
    allowance = RefusalAllowance(hand)
    stranger = [allowance.takes(refused("", Result.UNKNOWN)) for _ in range(STRANGERS + 3)]
    assert stranger == [True] * STRANGERS + [False] * 3
    assert [allowance.takes(refused("ann")) for _ in range(EACH_CALLER + 1)].count(False) == 1
    assert allowance.takes(refused("bob"))
    assert (allowance.is_over, allowance.left_s) == (False, WINDOW_S)
    hand.s = WINDOW_S
    assert allowance.is_over
    sums = allowance.sums()
    assert [(each.by, each.count, each.result) for each in sums] == [
        ("", 3, Result.UNKNOWN),
        ("ann", 1, Result.DENIED),
    ]
    assert "3 more refusals" in sums[0].reason
    assert allowance.takes(refused("", Result.UNKNOWN)), "a new minute"
    assert allowance.sums() == []


def test_a_thousand_callers_fill_no_more_than_the_first_hundred() -> None:
    allowance = RefusalAllowance(Hand())
    kept = sum(allowance.takes(refused(f"caller-{n}")) for n in range(10 * MAX_CALLERS))
    assert kept == MAX_CALLERS
    (others,) = allowance.sums()
    assert (others.by, others.count) == ("", 9 * MAX_CALLERS)
