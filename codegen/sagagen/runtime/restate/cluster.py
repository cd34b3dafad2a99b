"""What the nodes of a Restate cluster tell and its admin listener does not: partitions, copies, snapshots.

Nodes tell it at their own port, in gRPC. Only some fields of its messages matter here, so they are read by number.
A field that a later Restate drops reads as not told.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Transport

_SERVICE = "/restate.cluster_ctrl.ClusterCtrlSvc/"
TELLS_S = 3.0
MOST_PER_CORE = 4
"""Partitions for a core of the cluster; more of them cost more than they bring."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Zeros and empty texts: it is not told."""

    partitions: int = 0
    copies_of_partitions: str = ""
    """As Restate writes it: `{node: 2}`."""
    copies_of_log: str = ""
    alive: int = 0
    dead: int = 0
    """Nodes, dead or suspected."""
    with_snapshot: frozenset[int] = frozenset()
    """Partitions of which there is a snapshot."""


async def asked(node: Transport) -> Cluster:
    """Raises RpcError where the node does not answer."""
    config = await node.call(f"{_SERVICE}GetClusterConfiguration", b"", metadata={}, timeout_s=TELLS_S)
    found = _configured(_message(config.response, 1))
    try:
        state = await node.call(f"{_SERVICE}GetClusterState", b"", metadata={}, timeout_s=TELLS_S)
    except RpcError:
        return found
    alive, dead, snapshots = 0, 0, set[int]()
    for entry in _messages(_message(state.response, 1), 4):
        said = _message(_message(entry, 2), 1)
        if not said:
            dead += 1
            continue
        alive += 1
        for status in _messages(said, 3):
            if _number(_message(_message(status, 2), 12), 1):
                snapshots.add(_number(status, 1))
    return Cluster(
        found.partitions,
        found.copies_of_partitions,
        found.copies_of_log,
        alive,
        dead,
        frozenset(snapshots),
    )


def warnings(cluster: Cluster, cores: int | None) -> list[str]:
    """What an operator should change. `cores` are those of this machine, where the cluster runs on it."""
    found: list[str] = []
    if cores and cluster.partitions > MOST_PER_CORE * cores:
        found.append(
            f"{cluster.partitions} partitions are more than {MOST_PER_CORE} for each of this machine's {cores} cores, "
            "which costs throughput: a new cluster takes `default-num-partitions`"
        )
    nodes = cluster.alive + cluster.dead
    if nodes > 1:
        if cluster.copies_of_log == "{node: 1}":
            found.append(
                f"{nodes} nodes keep one copy of each row: whoever loses a disk loses sagas. Set `default-replication` "
                "to 2 or more (`restatectl config set` on a cluster that runs)"
            )
        if cluster.alive and not cluster.with_snapshot:
            found.append(
                "no partition has a snapshot (a new cluster may have none yet): without a repository "
                "(`worker.snapshots.destination`) the cluster's log grows for ever, and a node "
                "that joins replays all of it"
            )
    if cluster.dead:
        found.append(f"{cluster.dead} of {nodes} nodes are dead, or suspected to be")
    return found


def _configured(config: bytes) -> Cluster:
    return Cluster(
        _number(config, 1),
        _message(_message(config, 2), 1).decode(errors="replace"),
        _message(_message(_message(config, 3), 2), 1).decode(errors="replace"),
    )


def _message(data: bytes, number: int) -> bytes:
    return next(_messages(data, number), b"")


def _messages(data: bytes, number: int) -> Iterator[bytes]:
    return (value for field, value in _fields(data) if field == number and isinstance(value, bytes))


def _number(data: bytes, number: int) -> int:
    return next((value for field, value in _fields(data) if field == number and isinstance(value, int)), 0)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of an encoded message, by number: protobuf's wire format."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
            case 2:
                length, at = _varint(data, at)
                yield tag >> 3, data[at : at + length]
                at += length
            case 1 | 5 as kind:
                at += 8 if kind == 1 else 4
            case _:
                return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at
