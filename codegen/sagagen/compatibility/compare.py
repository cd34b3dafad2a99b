"""Everything that changed between two contracts, in one list."""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sagagen.compatibility.change import Change, ChangeSeverity
from sagagen.compatibility.edge import compare_limits, compare_routes
from sagagen.compatibility.options import compare_options
from sagagen.compatibility.outside import unreachable
from sagagen.compatibility.protos import compare_protos
from sagagen.compatibility.running import OpenSagas
from sagagen.compatibility.sagas import compare_kept, compare_sagas
from sagagen.compatibility.security import compare_security
from sagagen.compatibility.services import compare_services
from sagagen.contract import Sources
from sagagen.contract.model import Mesh, Waiver

_RANK = {ChangeSeverity.BREAKING: 0, ChangeSeverity.WARNING: 1, ChangeSeverity.SAFE: 2}


def compare(root: Path, old_sources: Sources, old: Mesh, new: Mesh) -> tuple[Change, ...]:
    """All changes, breaking ones first. Runs buf on the contracts at `root`; the rest is pure."""
    return in_order([*compare_protos(root, old_sources, old, new), *compare_contracts(old, new)])


def compare_contracts(old: Mesh, new: Mesh) -> Iterator[Change]:
    """What buf does not see."""
    yield from compare_sagas(old, new)
    yield from compare_kept(old, new)
    yield from unreachable(old, new)
    yield from compare_services(old, new)
    yield from compare_routes(old, new)
    yield from compare_limits(old, new)
    yield from compare_security(old, new)
    yield from compare_options(old, new)


def in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    unique = dict.fromkeys(changes)
    return tuple(sorted(unique, key=lambda change: (_RANK[change.severity], change.at, change.rule.code)))


def weighed(changes: Sequence[Change], open_sagas: OpenSagas) -> tuple[Change, ...]:
    """With the open sagas that each change hits; a change that matters only to them and hits none is safe."""
    return in_order(_weighed(change, open_sagas) for change in changes)


def _weighed(change: Change, open_sagas: OpenSagas) -> Change:
    if change.target is None:
        return change
    hit = open_sagas.hit(change.target)
    if hit.count:
        return replace(change, hit=hit)
    if change.rule.is_about_running:
        return change.with_severity(ChangeSeverity.SAFE, "no open saga is hit")
    return change


def waived(changes: Sequence[Change], waivers: Sequence[Waiver], today: datetime.date) -> tuple[Change, ...]:
    """A waived change becomes a warning; an expired waiver adds a note where it would have applied."""
    return in_order(_waived(change, waivers, today) for change in changes)


def _waived(change: Change, waivers: Sequence[Waiver], today: datetime.date) -> Change:
    if change.severity is not ChangeSeverity.BREAKING:
        return change
    for waiver in waivers:
        if waiver.rule == change.rule.code and waiver.at in {"", change.subject}:
            if today <= waiver.until:
                return change.with_severity(
                    ChangeSeverity.WARNING, f"waived until {waiver.until}: {waiver.reason}"
                )
            change = replace(
                change, notes=(*change.notes, f"the waiver at {waiver.span} expired on {waiver.until}")
            )
    return change
