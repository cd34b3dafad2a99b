"""How Restate stands, for operators: `sagagen engine status`."""

from dataclasses import dataclass, field
from typing import Any

from sagagen.runtime.restate.client import Answer, RestateClient
from sagagen.runtime.restate.cluster import MOST_PER_CORE, asked, warnings
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Transport


@dataclass
class Status:
    lines: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


async def report(
    admin: RestateClient, project: str, node: Transport, at: str, cores: int | None = None
) -> Status:
    """`node`, at `at`, tells of the cluster; `cores` are of this machine, if it runs there. Raises Unreachable."""
    found = Status()
    version = (await admin.ask("GET", "/version")).json()
    found.lines.append(
        f"Restate {version['version']}{_of_cluster(await admin.ask('GET', '/cluster-health'))}"
    )
    await _of_nodes(node, at, cores, found)
    _of_deployments((await admin.ask("GET", "/deployments")).json(), project, found)
    await _of_invocations(admin, project, found)
    return found


def _of_cluster(health: Answer) -> str:
    """Its name and its nodes, where it says them."""
    if health.status != 200:
        return ""
    said: dict[str, Any] = health.json()
    members: list[Any] = said.get("metadata_cluster_health", {}).get("members", [])
    nodes = f", nodes that keep its metadata: {', '.join(map(str, members))}" if members else ""
    return f", cluster {said.get('cluster_name', '?')}{nodes}"


async def _of_nodes(node: Transport, at: str, cores: int | None, found: Status) -> None:
    try:
        cluster = await asked(node)
    except RpcError as error:
        found.lines.append(
            f"Restate's node port can't be reached at {at} ({error.message}): partitions, copies and snapshots are "
            "not looked at; set SAGAGEN_ENGINE_NODE_ADDR"
        )
        return
    found.lines.append(
        f"partitions: {cluster.partitions}; copies of a row: {cluster.copies_of_log or 'not told'}, of a partition: "
        f"{cluster.copies_of_partitions or 'not told'}"
    )
    if cluster.alive or cluster.dead:
        found.lines.append(
            f"nodes: {cluster.alive} alive, {cluster.dead} not; partitions with a snapshot: "
            f"{len(cluster.with_snapshot)}"
        )
    else:
        found.lines.append("nodes and snapshots are not told yet, as just after a start: ask again")
    if cores is None:
        found.lines.append(
            f"Restate does not tell its machines' cores: {MOST_PER_CORE} partitions for each are enough"
        )
    found.warnings += warnings(cluster, cores)


def _of_deployments(answer: Any, project: str, found: Status) -> None:
    ours = [
        each
        for each in answer["deployments"]
        if any(service["name"].startswith(f"{project}.") for service in each["services"])
    ]
    for each in ours:
        found.lines.append(f"adapters at {each.get('uri', '?')} (deployment {each['id']})")
    if not ours:
        found.warnings.append("no adapter is registered: start one (`sagagen up --only engine`)")
    if len({each.get("uri") for each in ours}) > 1:
        found.warnings.append(
            "adapters were registered at several addresses: a saga goes on at the one where it began; keep them, or "
            "set SAGAGEN_ENGINE_PUBLIC_URL to one that stays"
        )


async def _of_invocations(admin: RestateClient, project: str, found: Status) -> None:
    ours = f"target_service_name LIKE '{project}.%' AND status <> 'completed'"
    counted = await admin.query(
        f"SELECT target_service_name, status, count(*) AS n FROM sys_invocation WHERE {ours} "
        "GROUP BY target_service_name, status ORDER BY target_service_name, status"
    )
    for row in counted:
        found.lines.append(f"{row['target_service_name']}: {row['n']} {row['status']}")
        if row["status"] == "paused":
            found.warnings.append(
                f"{row['n']} invocation(s) of {row['target_service_name']} are paused: resume them"
            )
    failing = await admin.query(
        "SELECT target_service_key, retry_count, last_failure FROM sys_invocation "
        f"WHERE {ours} AND last_failure IS NOT NULL AND retry_count > 3 LIMIT 20"
    )
    for row in failing:
        what = " ".join(str(row["last_failure"]).split())[:200]
        found.warnings.append(f"saga {row['target_service_key']} does not go on: {what}")
