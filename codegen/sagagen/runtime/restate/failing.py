"""Why sagas do not go on, as Restate knows it: what their adapters said when an attempt failed.

A gateway knows which definitions it has itself; which an adapter lacks, only the adapter can say.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from sagagen.runtime.restate.client import RestateClient, Unreachable, text
from sagagen.runtime.restate.workflow_names import RUN, service_name
from sagagen.runtime.saga.codec import UnknownFields, UnknownFormat, UnknownKind

MARK = "it waits for a deployment: "
"""How a failure begins that an adapter with other code would not have."""
KEPT_S = 5.0
"""How long, in seconds, an answer of Restate's is good for: a query of its SQL takes it some 20 ms."""
AT_MOST = 1000
TRIED_OFTEN = 3
"""Attempts that failed one after the other, from which on it is no passing trouble."""
FAILS = "adapters that can go on with it: their attempts fail"


class WaitsForDeployment(Exception):
    """The saga's definition is missing: Restate tries again."""


def is_deployment(error: Exception) -> bool:
    """Other code would go on."""
    return isinstance(error, WaitsForDeployment | UnknownFormat | UnknownKind | UnknownFields)


def said_of(error: Exception) -> str:
    """What Restate is told of a failed attempt."""
    if is_deployment(error):
        return f"{MARK}{error}"
    return f"{type(error).__name__}: {error}"


class Failing:
    """The sagas of one project whose attempts fail. It asks once for all of them, and not again within KEPT_S."""

    def __init__(
        self,
        admin: RestateClient,
        project: str,
        sagas: Sequence[str],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._now_s = monotonic_s
        names = ", ".join(text(service_name(project, name)) for name in sagas)
        self._where = (
            f"target_service_name IN ({names}) AND target_handler_name = '{RUN}' "
            f"AND status IN ('backing-off', 'paused')"
        )
        self._known: Mapping[str, str] = {}
        self._until_s = 0.0
        self._asking = asyncio.Lock()

    async def of(self, saga_id: str) -> str:
        """What the saga waits for; empty if it goes on, or nobody can say."""
        with suppress(Unreachable):
            async with self._asking:
                if self._now_s() >= self._until_s:
                    self._until_s = self._now_s() + KEPT_S
                    self._known = await self._asked()
            if len(self._known) >= AT_MOST and saga_id not in self._known:
                return (await self._asked(f"AND target_service_key = {text(saga_id)}")).get(saga_id, "")
        return self._known.get(saga_id, "")

    async def _asked(self, condition: str = "") -> Mapping[str, str]:
        rows = await self._admin.query(
            "SELECT target_service_key AS saga_id, last_failure, retry_count FROM sys_invocation "
            f"WHERE {self._where} {condition} LIMIT {AT_MOST}"
        )
        return {
            row["saga_id"]: _waits_for(row.get("last_failure") or "", row.get("retry_count") or 0)
            for row in rows
        }


def _waits_for(failure: str, attempts: int) -> str:
    _, is_deployment, missing = failure.partition(MARK)
    if is_deployment:
        return f"adapters: {missing}"
    return FAILS if attempts > TRIED_OFTEN else ""
