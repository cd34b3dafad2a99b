"""Looking for sagas, by Restate's SQL over the states of their workflows. It needs the admin listener."""

from base64 import b64decode
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sagagen.runtime.engine.acceptance import index_of
from sagagen.runtime.engine.port import Acceptance, Halted, RecordedSaga
from sagagen.runtime.restate.client import RestateClient, text
from sagagen.runtime.restate.recorded import recorded
from sagagen.runtime.restate.state import STATE, column, text_of
from sagagen.runtime.restate.workflow_names import RUN, service_name
from sagagen.runtime.saga.commands import UnknownSaga
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import Accepted, SagaStatus
from sagagen.runtime.saga.figures import Count
from sagagen.runtime.saga.journal import JournalUnreadable
from sagagen.runtime.saga.search import (
    CallerQuery,
    OpenCount,
    SagaPage,
    SagaQuery,
    SagaSummary,
    UnreadableSaga,
)
from sagagen.runtime.saga.where import Both, Comparison, Either, Negated, Where

PAGE = 200
LOOKED_AT = 1000
WEDGED = 10
MISMATCH = "RT0016"
"""What Restate says of a journal that the code did not follow."""
_NOT_DRIVEN = "'backing-off', 'ready', 'pending', 'paused'"
_STARTED, _UPDATED = (f"TRY_CAST({column(name)} AS BIGINT)" for name in ("started_ms", "updated_ms"))
_ACTIVE = "'RUNNING', 'COMPENSATING'"
_ENDED = f"{column('status')} NOT IN ('RUNNING', 'COMPENSATING', 'STUCK')"


class Looking:
    """The sagas of one project. Each method raises Unreachable."""

    def __init__(self, admin: RestateClient, project: str, sagas: Sequence[str]) -> None:
        self._admin = admin
        names = ", ".join(text(service_name(project, name)) for name in sagas)
        self._of_project = f"key = '{STATE}' AND service_name IN ({names})"
        self._runs_of_project = f"target_handler_name = '{RUN}' AND target_service_name IN ({names})"

    async def ids(self, beginning: str, at_most: int) -> Sequence[str]:
        like = f"starts_with(service_key, {text(beginning)})"
        rows = await self._select("service_key", like, f"ORDER BY service_key LIMIT {at_most}")
        return [row["service_key"] for row in rows]

    async def search(
        self, query: SagaQuery, definitions: Definitions
    ) -> Sequence[RecordedSaga | UnreadableSaga]:
        found: list[RecordedSaga | UnreadableSaga] = []
        before, limit = query.before, min(PAGE, query.limit)
        while len(found) < limit:
            page = await self._page(query, before)
            for row in page:
                before = row["cursor"]
                if (saga := _found(row, query, definitions)) is not None:
                    found.append(saga)
                    if len(found) == limit:
                        break
            if len(page) < PAGE:
                break
        return found

    async def _page(self, query: SagaQuery, before: str) -> list[dict[str, Any]]:
        conditions = ["TRUE"]
        if set(query.statuses) != set(SagaStatus):
            statuses = ", ".join(text(str(status)) for status in query.statuses)
            conditions.append(f"{column('status')} IN ({statuses or text('')})")
        if query.saga:
            conditions.append(f"{column('name')} = {text(query.saga)}")
        if query.started_before_ms is not None:
            conditions.append(f"{_STARTED} <= {int(query.started_before_ms)}")
        if query.ended_since_ms is not None:
            conditions += [_ENDED, f"{_UPDATED} >= {int(query.ended_since_ms)}"]
        cursor = f"concat(lpad({column('started_ms')}, 15, '0'), ' ', service_key)"
        if before:
            conditions.append(f"{cursor} < {text(before)}")
        what = f"service_key, value_utf8, {cursor} AS cursor"
        return await self._select(what, " AND ".join(conditions), f"ORDER BY cursor DESC LIMIT {PAGE}")

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        if query.caller == "anonymous":
            return SagaPage([], "")
        condition = f"{column('caller')} = {text(text_of(query.caller))}"
        what = ", ".join(
            f"{column(name)} AS {name}"
            for name in ("name", "version", "status", "trace_id", "started_ms", "updated_ms")
        )
        rows = await self._select(
            f"service_key, {what}",
            condition,
            f"ORDER BY {_STARTED} DESC, service_key DESC LIMIT {LOOKED_AT * 10}",
        )
        if query.after:
            at = next((at for at, row in enumerate(rows) if row["service_key"] == query.after), None)
            if at is None:
                raise UnknownSaga(query.after)
            rows = rows[at + 1 :]
        statuses = {status.value for status in query.statuses}
        found, last = list[SagaSummary](), ""
        for looked_at, row in enumerate(rows):
            if len(found) == query.limit or looked_at == LOOKED_AT:
                return SagaPage(found, last)
            last = row["service_key"]
            if row["status"] in statuses:
                found.append(_summary(row))
        return SagaPage(found, "")

    async def active_by_caller(self) -> Mapping[str, int]:
        """How many active sagas each caller has, in all gateways."""
        caller = column("caller")
        rows = await self._select(
            f"{caller} AS caller, count(*) AS how_many",
            f"{column('status')} IN ('RUNNING', 'COMPENSATING')",
            f"GROUP BY {caller}",
        )
        return {b64decode(row["caller"]).decode(): int(row["how_many"]) for row in rows}

    async def open_counts(self) -> Sequence[OpenCount]:
        keys = ("name", "version", "digest", "status", "at_steps")
        what = ", ".join(f"{column(name)} AS {name}" for name in keys)
        rows = await self._select(
            f"{what}, count(*) AS how_many, min({_STARTED}) AS oldest",
            f"{column('status')} IN ('RUNNING', 'COMPENSATING', 'STUCK')",
            f"GROUP BY {', '.join(column(name) for name in keys)}",
        )
        return [
            OpenCount(
                row["name"],
                int(row["version"]),
                row["digest"],
                SagaStatus(row["status"]),
                int(row["how_many"]),
                int(row["oldest"]),
                tuple(name for name in row["at_steps"].split(",") if name),
            )
            for row in rows
        ]

    async def halted(self) -> Halted:
        """Workflows that no adapter has driven for half a minute, and those whose journal does not fit."""
        rows = await self._admin.query(
            "SELECT target_service_name AS service, target_service_key AS id, last_failure_error_code AS code "
            f"FROM sys_invocation WHERE {self._runs_of_project} AND status IN ({_NOT_DRIVEN}) "
            f"AND (last_failure_error_code = '{MISMATCH}' OR modified_at < now() - INTERVAL '30 seconds') "
            f"LIMIT {LOOKED_AT}"
        )
        named = [(str(row["service"]).partition(".")[2], row["id"], row["code"]) for row in rows]
        undriven = Counter(name for name, _, code in named if code != MISMATCH)
        wedged = [(name, saga_id) for name, saga_id, code in named if code == MISMATCH]
        return Halted(undriven, tuple(wedged[:WEDGED]))

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        rows = await self._select(
            f"{column('name')} AS name, {column('status')} AS status, count(*) AS how_many",
            f"{column('status')} IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED')",
            f"GROUP BY {column('name')}, {column('status')}",
        )
        return {(row["name"], SagaStatus(row["status"])): int(row["how_many"]) for row in rows}

    async def counts_of_ended(self) -> Sequence[Count]:
        """As `ended_counts`, by version too."""
        keys = ("name", "version", "status")
        rows = await self._select(
            f"{', '.join(f'{column(name)} AS {name}' for name in keys)}, count(*) AS how_many",
            f"{column('status')} IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED')",
            f"GROUP BY {', '.join(column(name) for name in keys)}",
        )
        return [
            Count(row["name"], int(row["version"]), SagaStatus(row["status"]), int(row["how_many"]))
            for row in rows
        ]

    async def active_of(self, caller: str) -> int:
        condition = f"{column('caller')} = {text(text_of(caller))} AND {column('status')} IN ({_ACTIVE})"
        return int((await self._select("count(*) AS how_many", condition, ""))[0]["how_many"])

    async def open_count(self) -> int:
        """How many sagas have not ended; those among them that no adapter has begun, and that have no state yet."""
        condition = f"{self._runs_of_project} AND status <> 'completed'"
        rows = await self._admin.query(
            f"SELECT count(*) AS how_many FROM sys_invocation_status WHERE {condition}"
        )
        return int(rows[0]["how_many"])

    async def last_ends_ms(self) -> Mapping[str, int]:
        """When the last saga of each definition has ended, ms since the epoch, of those that are retained."""
        rows = await self._select(
            f"{column('name')} AS name, max({_UPDATED}) AS ended_ms",
            _ENDED,
            f"GROUP BY {column('name')}",
        )
        return {row["name"]: int(row["ended_ms"]) for row in rows}

    async def _select(self, what: str, condition: str, rest: str) -> list[dict[str, Any]]:
        return await self._admin.query(
            f"SELECT {what} FROM state WHERE {self._of_project} AND {condition} {rest}"
        )


def _found(
    row: Mapping[str, Any], query: SagaQuery, definitions: Definitions
) -> "RecordedSaga | UnreadableSaga | None":
    """None: it does not match."""
    try:
        saga = recorded(row["value_utf8"].encode(), row["cursor"])
    except JournalUnreadable as error:
        status, name, version, _, started_ms, *_ = row["value_utf8"].split(" ")
        why = f"saga {row['service_key']} can't be read: {error}"
        return UnreadableSaga(
            row["service_key"], name, int(version), status, int(started_ms), why, row["cursor"]
        )
    if query.waiting_at is not None and saga.is_resting:
        at_steps = row["value_utf8"].split(" ")[8].split(",")
        if not set(at_steps) & set(query.waiting_at):
            return None
    return saga if query.where is None or _holds(query.where, _index_of(saga.accepted, definitions)) else None


def _index_of(accepted: Accepted, definitions: Definitions) -> Mapping[str, str | int]:
    saga = definitions.of(accepted)
    if saga is None or not saga.index:
        return {}
    acceptance = Acceptance(
        saga,
        accepted.saga_id,
        accepted.caller,
        accepted.key,
        accepted.fingerprint,
        accepted.input,
        accepted.trace,
        accepted.claims,
    )
    return dict(index_of(acceptance, accepted.started_ms))


def _holds(where: Where, values: Mapping[str, str | int]) -> bool:
    match where:
        case Comparison(name, operator, wanted):
            value = values.get(name)
            return (
                value is not None
                and isinstance(value, str) == isinstance(wanted, str)
                and _compare(operator, value, wanted)
            )
        case Negated(part):
            return not _holds(part, values)
        case Both(parts):
            return all(_holds(part, values) for part in parts)
        case Either(parts):
            return any(_holds(part, values) for part in parts)


def _compare(operator: str, value: Any, wanted: Any) -> bool:
    match operator:
        case "==":
            return value == wanted
        case "!=":
            return value != wanted
        case "<":
            return value < wanted
        case "<=":
            return value <= wanted
        case ">":
            return value > wanted
        case _:
            return value >= wanted


def _summary(row: Mapping[str, Any]) -> SagaSummary:
    return SagaSummary(
        saga_id=row["service_key"],
        saga=row["name"],
        version=int(row["version"]),
        status=row["status"],
        trace_id=row["trace_id"],
        created_ms=int(row["started_ms"]),
        updated_ms=int(row["updated_ms"]),
    )
