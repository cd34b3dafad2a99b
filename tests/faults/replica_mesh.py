"""The shop on PostgreSQL, two replicas of each service: every process and server of it can be killed or frozen.

The copy of the shop that runs here has no unique keys, and a ledger of effects: what is done twice can be seen. Its
services remember nothing themselves, so that a repeat asks Redis, or the barrier.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from postgres_server import PostgresServer
from process_group import ProcessGroup
from project_copy import copy_project, edit
from redis_server import RedisServer
from stack import free_ports
from waiting import LIMIT_S, under_load

SERVICES = ("order", "inventory", "payment")
GATEWAY = "gateway"
REPLICAS = 2
PLENTY, SCARCE = 1_000_000, 40
"""Pieces in stock at the beginning: of prod_1 to prod_5, and of scarce_0 to scarce_2."""

FORGETFUL = """
import sys
from sagagen.runtime.service import outcome_cache
outcome_cache.CACHE_BYTES = 0
from sagagen.cli import main
sys.argv = ["sagagen", *sys.argv[1:]]
main()
"""
_LEDGER = """
CREATE TABLE IF NOT EXISTS {name}_ledger (
  n bigint GENERATED ALWAYS AS IDENTITY, order_id text NOT NULL, what text NOT NULL, detail text NOT NULL
);
CREATE OR REPLACE FUNCTION {name}_noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO {name}_ledger (order_id, what, detail) VALUES ({values});
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER noted AFTER {when} ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_noted();
CREATE INDEX IF NOT EXISTS of_order ON {name} (order_id);
"""
_ONE_LINE = (
    "coalesce(NEW.order_id, OLD.order_id), CASE TG_OP WHEN 'INSERT' THEN '{insert}' ELSE {other} END, "
)
LEDGERS = {
    "order": _LEDGER.format(
        name="orders",
        when="INSERT OR UPDATE",
        values=_ONE_LINE.format(
            insert="create", other="CASE NEW.status WHEN 2 THEN 'confirm' ELSE 'cancel' END"
        )
        + "coalesce(NEW.cancel_reason, '')",
    ),
    "inventory": _LEDGER.format(
        name="reservations",
        when="INSERT OR DELETE",
        values=_ONE_LINE.format(insert="reserve", other="'release'")
        + "coalesce(NEW.product_id, OLD.product_id) || '*' || coalesce(NEW.quantity, OLD.quantity)",
    ),
    "payment": _LEDGER.format(
        name="payments",
        when="INSERT OR UPDATE",
        values=_ONE_LINE.format(insert="charge", other="'refund'") + "NEW.amount_minor::text",
    ),
}
"""Of each service's table whose keys are gone. A trigger writes in the transaction of the effect."""


def copy_shop(to: Path) -> Path:
    """The shop, with ledgers in the place of unique keys, and more stock."""
    root = copy_project("shop", to, ("contracts", "handlers", "gateway", "generated"))
    handlers = root / "handlers"
    stock = [f"('prod_{number}', {PLENTY})" for number in range(1, 6)]
    stock += [f"('scarce_{number}', {SCARCE})" for number in range(3)] + ["('none_1', 0)"]
    for service in ("order", "payment"):
        edit(handlers / f"{service}.postgres.sql", {"text PRIMARY KEY": "text NOT NULL"})
    edit(
        handlers / "inventory.postgres.sql",
        {
            "CHECK (quantity > 0),\n  PRIMARY KEY (order_id, product_id)": "CHECK (quantity > 0)",
            ", ".join(f"('prod_{number}', 1000)" for number in range(1, 6)): ", ".join(stock),
        },
    )
    for service, ledger in LEDGERS.items():
        with (handlers / f"{service}.postgres.sql").open("a", encoding="utf-8") as file:
            file.write(ledger)
    return root


class ReplicaMesh(ProcessGroup):
    """Used by `with`: two replicas of each service, a gateway, a PostgreSQL and a Redis of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = folder / "data"
        self.root = copy_shop(folder / "shop")
        http, self._admin, *rest = free_ports(2 + 2 * REPLICAS * len(SERVICES))
        self.url = f"http://127.0.0.1:{http}"
        self.http_port = http
        self.replicas = [f"{service}-{number}" for service in SERVICES for number in range(REPLICAS)]
        self._grpc = dict(zip(self.replicas, rest[: len(self.replicas)], strict=True))
        self._replica_admin = dict(zip(self.replicas, rest[len(self.replicas) :], strict=True))
        self._stack = ExitStack()
        self.postgres: PostgresServer
        self.redis: RedisServer

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True)
        self.postgres = self._entered(PostgresServer("-c", "fsync=on"))
        self._urls = {service: self.postgres.database(service) for service in SERVICES}
        self.redis = self._entered(RedisServer(self.folder))
        self._stack.callback(self._kill_all)
        self.start(*self.replicas, GATEWAY)
        self.await_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _entered(self, context: AbstractContextManager[Any]) -> Any:
        return self._stack.enter_context(context)

    # -- processes -------------------------------------------------------------------------------------------------

    def await_ready(self, *names: str) -> None:
        """Wait until the gateway is ready, and these replicas: all of them, if none is named."""
        self.await_all((*(names or self.replicas), GATEWAY))

    def readiness_port(self, name: str) -> int:
        return self._replica_admin.get(name, self.http_port)

    def command(self, name: str) -> list[str]:
        service = name.partition("-")[0]
        return [sys.executable, "-c", FORGETFUL, "up", "--project", str(self.root), "--only", service]

    def environment(self, name: str) -> Mapping[str, str]:
        environment = {
            "SAGAGEN_DATA_DIR": str(self.data),
            "SAGAGEN_LOG_FORMAT": "json",
            "SAGAGEN_REDIS_URL": self.redis.url,
        }
        if name == GATEWAY:
            lists = {
                f"SAGAGEN_{service.upper()}_ADDR": ",".join(
                    f"127.0.0.1:{port}" for each, port in self._grpc.items() if each.startswith(service)
                )
                for service in SERVICES
            }
            addresses = {"HTTP_ADDR": self.http_port, "ADMIN_ADDR": self._admin}
            return environment | lists | _local(addresses)
        service = name.partition("-")[0]
        url = {f"SAGAGEN_{service.upper()}_DATABASE_URL": self._urls[service]}
        return (
            environment
            | url
            | _local({"GRPC_ADDR": self._grpc[name], "ADMIN_ADDR": self._replica_admin[name]})
        )

    def _kill_all(self) -> None:
        self.kill(*self.processes)

    # -- what is kept ----------------------------------------------------------------------------------------------

    def rows(self, service: str, query: str) -> Sequence[dict[str, Any]]:
        """From a service's database; the server has to run."""
        text = self.postgres.sql(f"SELECT coalesce(json_agg(r), '[]') FROM ({query}) r", service)
        return cast(Sequence[dict[str, Any]], json.loads(text))

    def log_rows(self, query: str) -> Sequence[sqlite3.Row]:
        """From the gateway's saga log."""
        uri = f"file:{self.data / 'saga-log.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=LIMIT_S)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query).fetchall()

    def open_sagas(self) -> int:
        over = "('COMPLETED', 'COMPENSATED', 'SUPERSEDED')"
        return self.log_rows(f"SELECT count(*) FROM saga WHERE status NOT IN {over}")[0][0]

    def last_end_ms(self, accepted_before_ms: float) -> int:
        """When the last saga ended of those that were accepted before; ms since the epoch."""
        query = f"SELECT coalesce(max(updated_ms), 0) FROM saga WHERE started_ms < {accepted_before_ms:.0f}"
        return self.log_rows(query)[0][0]

    def await_no_open_sagas(self, limit_s: float) -> int:
        """How many are open still when all have ended, or after `limit_s` on a quiet machine."""
        until = time.monotonic() + under_load(limit_s)
        while (left := self.open_sagas()) and time.monotonic() < until:
            self.look_after()
            time.sleep(0.2)
        return left


def _local(ports: Mapping[str, int]) -> dict[str, str]:
    return {f"SAGAGEN_{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
