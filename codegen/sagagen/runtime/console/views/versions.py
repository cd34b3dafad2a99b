"""*Versions*: which there are of each saga, what is open on them, and what waits for one that is not deployed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sagagen.runtime.clock import rfc3339_or_none
from sagagen.runtime.console.page import Page, View, Visit
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.figures import Overview
from sagagen.runtime.saga.search import OpenCount


async def look(visit: Visit) -> Page:
    operations = visit.desk.operations
    definitions = operations.definitions
    counts = await operations.figures.open_counts()
    overview = await operations.figures.overview(definitions.newest)
    names = list(dict.fromkeys([*definitions.names, *(each.saga for each in counts)]))
    sagas = [(name, _versions(name, definitions, counts, overview)) for name in names]
    waiting = [
        (name, each) for name, versions in sagas for each in versions if each["is_missing"] and each["open"]
    ]
    return Page(
        "Versions",
        {"sagas": sagas, "waiting": waiting, "knows_first": overview.first_ms is not None},
        "sagagen sagas stats",
    )


def _versions(
    name: str, definitions: Definitions, counts: Sequence[OpenCount], overview: Overview
) -> list[Mapping[str, Any]]:
    """The newest first; one that open sagas have, and this code lacks, among them."""
    kept = {(version, _digest(definitions, name, version)) for version in definitions.versions(name)}
    found = kept | {(each.version, each.digest) for each in counts if each.saga == name}
    newest = max(definitions.versions(name), default=0)
    return [
        _version(name, version, digest, definitions, counts, overview, newest)
        for version, digest in sorted(found, reverse=True)
    ]


def _digest(definitions: Definitions, name: str, version: int) -> str:
    saga = definitions.get(name, version)
    return saga.digest if saga else ""


def _version(
    name: str,
    version: int,
    digest: str,
    definitions: Definitions,
    counts: Sequence[OpenCount],
    overview: Overview,
    newest: int,
) -> Mapping[str, Any]:
    own = [each for each in counts if (each.saga, each.version, each.digest) == (name, version, digest)]
    is_kept = definitions.keeps(name, version, digest)
    is_newest = is_kept and version == newest
    open_count = sum(each.count for each in own)
    ended = {
        each.status: each.count
        for each in overview.counts
        if (each.saga, each.version) == (name, version) and not each.status.is_open
    }
    return {
        "version": version,
        "digest": digest[:12],
        "is_missing": not is_kept,
        "state": "takes new sagas" if is_newest else "kept" if is_kept else "not here",
        "open": open_count,
        "stuck": sum(each.count for each in own if each.status is SagaStatus.STUCK),
        "undoing": sum(each.count for each in own if each.status is SagaStatus.COMPENSATING),
        "oldest": rfc3339_or_none(min((each.oldest_ms for each in own), default=None)),
        "completed": ended.get(SagaStatus.COMPLETED, 0),
        "compensated": ended.get(SagaStatus.COMPENSATED, 0),
        "first": rfc3339_or_none((overview.first_ms or {}).get(name)) if is_newest else None,
        "note": _note(version, open_count, definitions.get(name, version) is not None, is_kept, is_newest),
    }


def _note(version: int, open_count: int, has_version: bool, is_kept: bool, is_newest: bool) -> str:
    if not is_kept and has_version:
        return f"this code has another definition of version {version}: restore that one, with the new one as another"
    if not is_kept:
        return f"deploy code that keeps version {version}"
    if is_newest:
        return ""
    return "must stay: open sagas run on it" if open_count else "can go: no open saga runs on it"


VIEW = View("versions", "Versions", "/versions", look)
