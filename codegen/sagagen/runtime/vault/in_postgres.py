"""The keys of a database in PostgreSQL: its store keys and its own, in tables of a schema of ours."""

from typing import TYPE_CHECKING, Any, Protocol

from sagagen.runtime.vault.keys import KeysUnset, KeyWrapper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sagagen.runtime.vault.vault import StoredKeys, Vault


class _Connection(Protocol):
    async def execute(self, query: str, *args: Any) -> str: ...

    async def fetch(self, query: str, *args: Any) -> "Sequence[Any]": ...

    async def fetchrow(self, query: str, *args: Any) -> Any: ...


async def open_vault(
    connection: _Connection, schema: str, keys: KeyWrapper | None, name: str
) -> "Vault | None":
    """None where nothing is encrypted. Whoever asks has the lock of a start.

    Raises KeysUnset, KeysMissing or KeyIsAnother; `name` is what they call the database.
    """
    if keys is None:
        if used := await connection.fetch(f"SELECT kek FROM {schema}.store_key"):
            raise KeysUnset(name, [row["kek"] for row in used])
        return None
    from sagagen.runtime.vault.vault import Vault

    vault, new = Vault.of(keys, await _stored(connection, schema), name)
    for row in new.store.items():
        await connection.execute(f"INSERT INTO {schema}.store_key (kek, wrapped) VALUES ($1, $2)", *row)
    if new.own:
        await connection.execute(
            f"INSERT INTO {schema}.own_key (number, kek, wrapped) VALUES (1, $1, $2)", *new.own
        )
    return vault


async def _stored(connection: _Connection, schema: str) -> "StoredKeys":
    from sagagen.runtime.vault.vault import StoredKeys

    store = await connection.fetch(f"SELECT kek, wrapped FROM {schema}.store_key ORDER BY kek")
    own = await connection.fetchrow(f"SELECT kek, wrapped FROM {schema}.own_key")
    return StoredKeys(
        {row["kek"]: row["wrapped"] for row in store}, None if own is None else (own["kek"], own["wrapped"])
    )
