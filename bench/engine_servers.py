"""The servers that keep sagas where the saga log is no file: Restate and PostgreSQL, and what they keep."""

import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postgres_server import make_server, run_sql
from processes import Processes, free_ports

REPOSITORY = Path(__file__).resolve().parents[1]
ENGINES = ("file", "postgres", "restate")
_RESTATE = """
cluster-name = "bench"
node-name = "one"
auto-provision = true
default-num-partitions = 2
base-dir = "{folder}"
listen-mode = "tcp"
bind-address = "127.0.0.1:{node}"
advertised-address = "http://127.0.0.1:{node}"
disable-telemetry = true
log-filter = "warn"
rocksdb-total-memory-size = "512 MB"
[ingress]
bind-address = "127.0.0.1:{ingress}"
[admin]
bind-address = "127.0.0.1:{admin}"
disable-web-ui = true
"""
_STORES = {"db": "state and promises", "log-store": "Restate's log"}
"""Its databases by folder."""


@dataclass(frozen=True, slots=True)
class EngineServer:
    """Where sagas are kept. `file` has no server."""

    engine: str
    pid: int | None
    environment: Mapping[str, str]
    """For a gateway, and an adapter."""
    admin: int = 0

    @property
    def url(self) -> str:
        """Of the engine, as a gateway is told it."""
        return self.environment["SAGAGEN_ENGINE_URL"]


def start(engine: str, processes: Processes, folder: Path) -> EngineServer:
    """Start the engine's server with its data in a folder of its own below `folder`, and wait until it answers."""
    match engine:
        case "restate":
            return _start_restate(processes, folder / "restate")
        case "postgres":
            return _start_postgres(processes, folder / "postgres")
        case _:
            return EngineServer("file", None, {})


def _start_restate(processes: Processes, folder: Path) -> EngineServer:
    node, ingress, admin, adapter = free_ports(4)
    folder.mkdir()
    written = folder / "restate.toml"
    written.write_text(_RESTATE.format(folder=folder / "data", node=node, ingress=ingress, admin=admin))
    pid = processes.start([restate_binary(), "--no-logo", "-c", str(written)], {}, cwd=folder)
    processes.await_port(admin)
    processes.await_port(ingress)
    told = {
        "SAGAGEN_ENGINE_URL": f"restate+http://127.0.0.1:{ingress}",
        "SAGAGEN_ENGINE_ADMIN_URL": f"http://127.0.0.1:{admin}",
        "SAGAGEN_ENGINE_ADDR": f"127.0.0.1:{adapter}",
    }
    return EngineServer("restate", pid, told, admin)


def _start_postgres(processes: Processes, folder: Path) -> EngineServer:
    server = make_server(folder, free_ports(1)[0])
    pid = processes.start(server.command, {}, cwd=folder)
    processes.await_port(server.port)
    server.await_answer()
    return EngineServer("postgres", pid, {"SAGAGEN_ENGINE_URL": server.make_database("sagas")})


def restate_binary() -> str:
    """Of the server: SAGAGEN_RESTATE_SERVER, on PATH, or from npm here or one folder up."""
    package = "node_modules/@restatedev/*/bin/restate-server"
    here = [
        *REPOSITORY.glob(package),
        *REPOSITORY.parent.glob(package),
        *REPOSITORY.parent.glob(f"*/{package}"),
    ]
    named = os.environ.get("SAGAGEN_RESTATE_SERVER") or shutil.which("restate-server")
    if not (named or here):
        sys.exit("there is no restate-server: npm install @restatedev/restate-server")
    return named or str(here[0])


def told_of_stored(server: EngineServer) -> dict[str, int]:
    """What the server says it holds of all sagas, in bytes, by kind."""
    match server.engine:
        case "restate":
            sql = "SELECT coalesce(sum(length(value_utf8)), 0) AS n FROM state"
            return {"rows in Restate's state": int(_query(server, sql)[0]["n"])}
        case "postgres":
            sql = (
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
                "WHERE relnamespace = 'sagagen_engine'::regnamespace AND relname IN ('saga', 'batch')"
            )
            sizes = {name: int(size) for name, size in _pairs(run_sql(server.url, sql))}
            return {"stored": sum(sizes.values()), **{f"table {name}": size for name, size in sizes.items()}}
        case _:
            return {}


def written_ahead(server: EngineServer) -> int:
    """Bytes of PostgreSQL's write-ahead log so far; 0 of any other server."""
    if server.engine != "postgres":
        return 0
    return int(run_sql(server.url, "SELECT pg_current_wal_insert_lsn() - '0/0'"))


def files_of(server: EngineServer, folder: Path) -> dict[str, int]:
    """Bytes of the engine's files after its end, when all is in tables and nothing in a write-ahead log."""
    match server.engine:
        case "restate":
            kept = [*folder.rglob("*.sst"), *folder.rglob("restate/data/**/*.log")]
            sizes = {
                name: sum(path.stat().st_size for path in kept if path.parent.name == name)
                for name in _STORES
            }
            return {"stored": sum(sizes.values()), **{_STORES[name]: size for name, size in sizes.items()}}
        case "postgres":
            return {}
        case _:
            return {"stored": (folder / "saga-log.db").stat().st_size}


def _pairs(lines: str) -> list[list[str]]:
    return [line.split("|") for line in lines.splitlines()]


def _query(server: EngineServer, sql: str) -> list[dict[str, Any]]:
    headers = {"content-type": "application/json", "accept": "application/json"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.admin}/query", json.dumps({"query": sql}).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["rows"]
