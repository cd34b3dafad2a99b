"""*Services*: where those of the mesh are, whether they serve, and how calls of this gateway to them end."""

import asyncio
import shlex
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagagen.runtime.console.definition_graph import milliseconds, percent
from sagagen.runtime.console.desk import Desk, Reach
from sagagen.runtime.console.page import Page, View, Visit
from sagagen.runtime.health import Check, within
from sagagen.runtime.model.definition import Service
from sagagen.runtime.model.security import GATEWAY
from sagagen.runtime.telemetry.metrics import RPC_CLIENT_SECONDS

KEPT_S = 5.0
"""Time in seconds for which a service's own answer is shown: an open page asks again and again."""
_DECLINES = frozenset(
    {"FAILED_PRECONDITION", "NOT_FOUND", "ALREADY_EXISTS", "INVALID_ARGUMENT", "OUT_OF_RANGE"}
)
"""Codes by which a service says no; it works."""


async def look(visit: Visit) -> Page:
    desk = visit.desk
    found = await asyncio.gather(*(_health(desk, service) for service in desk.mesh.services))
    rpcs = _rpcs()
    services = [
        _service(service, desk.services.get(service.name, Reach()), health, rpcs)
        for service, health in zip(desk.mesh.services, found, strict=True)
    ]
    problems = await desk.readiness.problems()
    url = visit.request.url
    command = f"curl {shlex.quote(f'{url.scheme}://{url.netloc}/readyz')}"
    return Page("Services", {"services": services, "problems": problems, "command": command})


@dataclass(slots=True)
class _Health:
    said: str
    """What is wrong; empty if it serves."""
    until_s: float


_kept: dict[Check, _Health] = {}


async def _health(desk: Desk, service: Service) -> str | None:
    """What the service says now, or said a moment ago; None: this gateway does not call it."""
    check = desk.services.get(service.name, Reach()).check
    if check is None:
        return None
    kept = _kept.get(check)
    if kept is None or kept.until_s < time.monotonic():
        _kept[check] = kept = _Health(await within(check), time.monotonic() + KEPT_S)
    return kept.said


@dataclass(slots=True)
class _Rpc:
    """Calls of one rpc since this gateway's start."""

    by_code: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    buckets: defaultdict[float, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def count(self) -> int:
        return round(sum(self.by_code.values()))

    @property
    def declined(self) -> int:
        return round(sum(count for code, count in self.by_code.items() if code in _DECLINES))

    @property
    def failed(self) -> int:
        return self.count - self.declined - round(self.by_code.get("OK", 0.0))

    @property
    def p99_ms(self) -> int | None:
        """The bucket that has it: no less than this."""
        wanted = 0.99 * sum(self.by_code.values())
        bounds = sorted(self.buckets.items())
        found = next((bound for bound, count in bounds if count >= wanted), None)
        return None if found in (None, float("inf")) or not wanted else round(found * 1000)


def _rpcs() -> Mapping[str, Mapping[str, _Rpc]]:
    """By service and path, from the metrics of this process."""
    found: defaultdict[str, defaultdict[str, _Rpc]] = defaultdict(lambda: defaultdict(_Rpc))
    for metric in RPC_CLIENT_SECONDS.collect():
        for sample in metric.samples:
            labels = sample.labels
            rpc = found[labels["server_address"]][labels["rpc_method"]]
            if sample.name.endswith("_count"):
                rpc.by_code[labels["rpc_response_status_code"]] += sample.value
            elif sample.name.endswith("_bucket"):
                rpc.buckets[float(labels["le"])] += sample.value
    return found


def _service(
    service: Service, reach: Reach, health: str | None, rpcs: Mapping[str, Mapping[str, _Rpc]]
) -> Mapping[str, Any]:
    own = rpcs.get(service.name, {})
    return {
        "name": service.name,
        "is_called": GATEWAY in service.callers,
        "callers": service.callers,
        "health": health,
        "addresses": reach.addresses,
        "replicas": reach.replicas() if reach.replicas else (),
        "rpcs": list(_shown(service, own)),
    }


def _shown(service: Service, own: Mapping[str, _Rpc]) -> Iterator[Mapping[str, Any]]:
    for method in service.methods:
        rpc = own.get(method.path[1:], _Rpc())
        codes = sorted(
            ((code, round(n)) for code, n in rpc.by_code.items() if code != "OK"), key=lambda c: -c[1]
        )
        yield {
            "name": method.path.rpartition("/")[2],
            "kind": "read" if method.is_read else f"write, {method.transaction} transaction",
            "count": rpc.count,
            "declined": rpc.declined,
            "failed": rpc.failed,
            "rate": percent(rpc.failed / rpc.count) if rpc.failed and rpc.count else "",
            "codes": ", ".join(f"{code} {count}" for code, count in codes),
            "p99": milliseconds(rpc.p99_ms),
        }


VIEW = View("services", "Services", "/services", look)
