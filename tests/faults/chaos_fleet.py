"""A project beyond one machine: two gateways, services on PostgreSQL, and where Restate has the sagas two adapters.

Where its sagas are kept is a `Keeper`: the same processes run on each of them.
"""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from balancer import one_address
from delivery_project import SERVICES as DELIVERY_SERVICES
from delivery_project import delivery
from postgres_server import PostgresServer
from process_group import ProcessGroup
from replica_mesh import FORGETFUL, copy_shop
from replica_mesh import SERVICES as SHOP_SERVICES
from restate_cluster import RestateCluster
from stack import free_ports

from sagagen.runtime.restate.state import STATE, of_state
from sagagen.runtime.saga.codec import decode
from sagagen.runtime.saga.events import LogEvent

GATEWAYS = ("gateway-0", "gateway-1")
ADAPTERS = ("engine-0", "engine-1")


class Keeper(ABC):
    """Keeps the sagas. Used by `with`."""

    adapters: Sequence[str] = ()
    cluster: RestateCluster | None = None

    @abstractmethod
    def environment(self, project: str) -> Mapping[str, str]:
        """Of gateways and adapters."""

    @abstractmethod
    def rows(self, project: str) -> dict[str, Sequence[LogEvent]]:
        """All that is known of each saga, by its id."""

    @abstractmethod
    def unfinished(self) -> int:
        """What goes on still."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SharedLog(Keeper):
    """A saga log in PostgreSQL for both gateways, in a database for each project."""

    _OPEN = "SELECT count(*) FROM sagagen_engine.saga WHERE status NOT IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED')"
    _BATCHES = (
        "SELECT saga_id AS id, encode(b.rows, 'hex') AS rows FROM sagagen_engine.batch b "
        "JOIN sagagen_engine.saga s ON b.saga = s.number ORDER BY b.saga, b.seq"
    )

    def __init__(self, postgres: PostgresServer) -> None:
        self._postgres = postgres
        self._projects: set[str] = set()

    def environment(self, project: str) -> Mapping[str, str]:
        if project not in self._projects:
            self._postgres.database(f"sagas_{project}")
            self._projects.add(project)
        return {"SAGAGEN_ENGINE_URL": self._postgres.url(f"sagas_{project}")}

    def rows(self, project: str) -> dict[str, Sequence[LogEvent]]:
        found: dict[str, list[LogEvent]] = {}
        for batch in _selected(self._postgres, f"sagas_{project}", self._BATCHES):
            found.setdefault(batch["id"], []).extend(decode(bytes.fromhex(batch["rows"])))
        return cast(dict[str, Sequence[LogEvent]], found)

    def unfinished(self) -> int:
        return sum(int(self._postgres.sql(self._OPEN, f"sagas_{project}")) for project in self._projects)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class OnRestate(Keeper):
    """A Restate of one node or three, for all projects."""

    adapters = ADAPTERS

    def __init__(self, nodes: int) -> None:
        self.cluster = self._cluster = RestateCluster(nodes)

    def environment(self, project: str) -> Mapping[str, str]:
        return self._cluster.environment

    def rows(self, project: str) -> dict[str, Sequence[LogEvent]]:
        states = self._cluster.query(
            f"SELECT service_key, value_utf8 FROM state WHERE key = '{STATE}' AND service_name LIKE '{project}.%'"
        )
        return {row["service_key"]: of_state(row["value_utf8"].encode()).rows for row in states}

    def unfinished(self) -> int:
        query = "SELECT count(*) AS n FROM sys_invocation_status WHERE status <> 'completed'"
        return int(self._cluster.query(query)[0]["n"])

    def __enter__(self) -> Self:
        self._cluster.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.__exit__()


class Fleet(ProcessGroup):
    """The processes of one project. Used by `with`; its services' databases and the sagas outlive it."""

    def __init__(
        self,
        project: str,
        folder: Path,
        root: Path,
        services: Sequence[str],
        postgres: PostgresServer,
        keeper: Keeper,
    ) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder)
        self.project = project
        self.services = services
        self._root = root
        self._postgres = postgres
        self._keeper = keeper
        self.names = (*services, *keeper.adapters, *GATEWAYS)
        ports = iter(free_ports(len(self.names) + len(services) + len(keeper.adapters) + len(GATEWAYS)))
        self._admin = {name: next(ports) for name in self.names}
        self._listens = {name: next(ports) for name in self.names}
        self.gateway_ports = [self._listens[name] for name in GATEWAYS]
        self._urls = {service: postgres.database(f"{project}_{service}") for service in services}
        self._stack = ExitStack()
        self._adapters_port = 0

    def __enter__(self) -> Self:
        adapters = [self._listens[name] for name in self._keeper.adapters]
        if adapters:
            self._adapters_port = self._stack.enter_context(one_address(adapters))
        self._stack.callback(lambda: self.kill(*self.processes))
        self.start(*self.names)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def await_ready(self) -> None:
        self.await_all(self.names)

    def readiness_port(self, name: str) -> int:
        return self._listens[name] if name in GATEWAYS else self._admin[name]

    def command(self, name: str) -> list[str]:
        only = name.partition("-")[0]
        return [sys.executable, "-c", FORGETFUL, "up", "--project", str(self._root), "--only", only]

    def environment(self, name: str) -> Mapping[str, str]:
        common = {
            "SAGAGEN_DATA_DIR": str(self.folder / "data"),
            "SAGAGEN_LOG_FORMAT": "json",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{self._admin[name]}",
        }
        own = f"127.0.0.1:{self._listens[name]}"
        if name in self.services:
            url = {f"SAGAGEN_{name.upper()}_DATABASE_URL": self._urls[name]}
            return {**common, **url, "SAGAGEN_GRPC_ADDR": own}
        services = {f"SAGAGEN_{s.upper()}_ADDR": f"127.0.0.1:{self._listens[s]}" for s in self.services}
        engine = {**self._keeper.environment(self.project), **services}
        if name in GATEWAYS:
            return {**common, **engine, "SAGAGEN_HTTP_ADDR": own}
        public = f"http://127.0.0.1:{self._adapters_port}"
        return {**common, **engine, "SAGAGEN_ENGINE_ADDR": own, "SAGAGEN_ENGINE_PUBLIC_URL": public}

    # -- what is kept ----------------------------------------------------------------------------------------------

    def rows(self, service: str, query: str) -> Sequence[dict[str, Any]]:
        """From a service's database; the server has to run."""
        return _selected(self._postgres, f"{self.project}_{service}", query)

    def saga_rows(self) -> dict[str, Sequence[LogEvent]]:
        """All that is known of each of its sagas, by id."""
        return self._keeper.rows(self.project)


def _selected(postgres: PostgresServer, database: str, query: str) -> Sequence[dict[str, Any]]:
    text = postgres.sql(f"SELECT coalesce(json_agg(r), '[]') FROM ({query}) r", database)
    return cast(Sequence[dict[str, Any]], json.loads(text))


class Arena:
    """The shop, the delivery or both on one keeper of sagas, with a PostgreSQL of their own. Used by `with`."""

    def __init__(self, way: str, folder: Path, *, shop: bool = True, delivers: bool = True) -> None:
        """`way` is one of WAYS."""
        self.way = way
        self._folder = folder
        self._wanted = {"shop": shop, "delivery": delivers}
        self._stack = ExitStack()
        self.fleets: dict[str, Fleet] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self.postgres = self._entered(PostgresServer("-c", "fsync=on"))
            nodes = WAYS[self.way]
            self.keeper: Keeper = OnRestate(nodes) if nodes else SharedLog(self.postgres)
            self._entered(self.keeper)
            made = {
                "shop": lambda: (copy_shop(self._folder / "shop"), SHOP_SERVICES),
                "delivery": lambda: (delivery(self._folder / "delivery"), DELIVERY_SERVICES),
            }
            for project in (name for name, is_wanted in self._wanted.items() if is_wanted):
                root, services = made[project]()
                fleet = Fleet(
                    project, self._folder / f"{project}-data", root, services, self.postgres, self.keeper
                )
                self.fleets[project] = self._entered(fleet)
            self.await_ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _entered(self, context: AbstractContextManager[Any]) -> Any:
        return self._stack.enter_context(context)

    def await_ready(self) -> None:
        """Wait until all of it is there."""
        if self.keeper.cluster:
            self.keeper.cluster.await_ready()
        for fleet in self.fleets.values():
            fleet.await_ready()


WAYS = {"a shared log": 0, "one Restate node": 1, "three Restate nodes": 3}
"""Ways to run, and how many nodes of Restate each needs."""
