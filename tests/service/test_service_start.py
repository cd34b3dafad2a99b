"""Starting a service: its handlers, its SQL files, its lock; and what it says when it can't."""

import sqlite3
from pathlib import Path

import pytest
from grpclib.const import Status as Code
from ledger import GET, PUT, SCHEMA, SERVICE, SQL, Ledger, PutRequest, put, running

from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.messages.validation_rules import has_own_rules, has_rules
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.service.methods import ServiceIncomplete, bind
from sagagen.runtime.service.sqlite_store.sql_files import SchemaFailed, Scripts, prepare
from sagagen.runtime.sqlite.database import Database, DatabaseError, DatabaseTooNew
from sagagen.runtime.sqlite.lock import LogLocked
from sagagen.runtime.transports.memory import MemoryTransport


def test_validation_runs_only_where_there_are_rules():
    schema = SCHEMA
    assert has_rules(schema.descriptor("lab.v1.PutRequest"))
    assert not has_rules(schema.descriptor("lab.v1.PutResponse"))
    assert has_rules(schema.descriptor("google.protobuf.FieldMask")) is False
    assert has_rules(schema.descriptor("google.protobuf.FieldOptions")), (
        "it holds a message with required fields"
    )
    shop = Schema((Path(__file__).parents[2] / "generated/descriptors.binpb").read_bytes())
    order = shop.descriptor("shop.order.v1.Order")
    assert has_rules(order), "its items have some"
    assert not has_own_rules(order)
    assert has_own_rules(shop.descriptor("shop.order.v1.CreateOrderRequest"))


class NotAsync:
    def put(self, request: PutRequest, call: CallContext) -> None: ...


@pytest.mark.parametrize("handlers", [object(), NotAsync()])
def test_a_handler_that_is_missing_or_not_async_is_named(handlers: object):
    with pytest.raises(ServiceIncomplete, match=r"handlers\.ledger:Ledger needs `async def put"):
        bind(SERVICE, handlers, SCHEMA)


async def test_a_second_process_on_the_same_data_is_refused(tmp_path: Path):
    async with running(tmp_path, Ledger()):
        with pytest.raises(LogLocked, match=r"ledger\.db"):
            await running(tmp_path, Ledger()).__aenter__()
    async with running(tmp_path, Ledger()):
        pass


async def test_a_stopped_service_is_unavailable(tmp_path: Path):
    async with running(tmp_path, Ledger()) as host:
        transport = MemoryTransport(host)
        await host.drain()
        with pytest.raises(RpcError, match="stopping"):
            await host.handle(GET.path, b"", {}, 1.0)
    with pytest.raises(RpcError) as error:
        await transport.call(PUT.path, put(), metadata={}, timeout_s=1.0)
    assert error.value.code is Code.UNAVAILABLE


async def start(folder: Path) -> list[str]:
    """Prepare the database from the SQL files in `folder`; the names of the service's own tables."""
    await prepare(folder / "a.db", Scripts.read(folder / "ledger.sql"))
    async with Database(folder / "a.db") as database:
        rows = await database.in_thread(
            lambda c: c.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
            ).fetchall()
        )
    return [row[0] for row in rows if not row[0].startswith(("sagagen_", "sqlite_"))]


async def test_the_schema_runs_at_each_start_until_a_numbered_change_was_applied(tmp_path: Path):
    base = tmp_path / "ledger.sql"
    base.write_text(SQL)
    assert await start(tmp_path) == ["entries"]
    base.write_text(SQL + "; CREATE TABLE IF NOT EXISTS more (a)")
    assert await start(tmp_path) == ["entries", "more"]
    (tmp_path / "ledger.001.sql").write_text("DROP TABLE more;")
    (tmp_path / "ledger.002.sql").write_text("CREATE TABLE other (a);")
    (tmp_path / "other.003.sql").write_text("nonsense")
    assert await start(tmp_path) == ["entries", "other"]
    assert await start(tmp_path) == ["entries", "other"]


async def test_a_service_without_tables_needs_no_file(tmp_path: Path):
    assert await start(tmp_path) == []


async def test_a_wrong_sql_file_is_named_and_not_half_applied(tmp_path: Path):
    base = tmp_path / "ledger.sql"
    base.write_text("CREATE TABLE first (a); CREATE TABLE oops (")
    with pytest.raises(SchemaFailed, match=r"ledger\.sql: "):
        await start(tmp_path)
    base.write_text(SQL)
    (tmp_path / "ledger.001.sql").write_text("ALTER TABLE absent RENAME TO present")
    with pytest.raises(SchemaFailed, match=r"ledger\.001\.sql: no such table"):
        await start(tmp_path)
    (tmp_path / "ledger.001.sql").unlink()
    assert await start(tmp_path) == ["entries"]


async def test_data_of_a_later_version_is_left_alone(tmp_path: Path):
    await start(tmp_path)
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("UPDATE sagagen_meta SET value = 99 WHERE name = 'barrier_version'")
    connection.close()
    (tmp_path / "ledger.sql").write_text(f"{SQL}; INSERT INTO entries VALUES ('mine', 1)")
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(DatabaseTooNew, match="version 99") as error:
        await start(tmp_path)
    assert isinstance(error.value, DatabaseError)
    assert (tmp_path / "a.db").read_bytes() == before
