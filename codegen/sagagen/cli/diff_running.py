"""Reads which sagas are open, from a gateway's admin listener or directly from a log."""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagagen.cli.diff_places import has_begun, places
from sagagen.cli.sagas_listener import AdminError, AdminListener, credentials, listener_at
from sagagen.compatibility.running import OpenSaga
from sagagen.compatibility.tree import Tree
from sagagen.contract.model import Mesh
from sagagen.runtime.admin.parsing import MAX_LISTED
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.log.reading import open_sagas_in
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.logged import Found
from sagagen.runtime.saga.search import UnreadableSaga
from sagagen.runtime.scope import step_name
from sagagen.runtime.sqlite.database import Database
from sagagen.runtime.startup import SettingsError

_BACK = {"RUNNING": False, "COMPENSATING": True}
"""Of a saga that is STUCK a list does not say which way it goes."""


async def read_open_sagas(source: str, token: str, old: Mesh) -> Sequence[OpenSaga]:
    """`source`: a file, `host:port` or a URL. Raises AdminError, or DatabaseError for a file that is not a log."""
    if (path := Path(source)).exists():
        return list(await _of_log(path, old))
    return list(await _of_gateway(source, token))


async def _of_gateway(source: str, token: str) -> Iterator[OpenSaga]:
    try:
        address, is_tls = listener_at(source, "--running")
        fields = {"authorization": f"Bearer {token}"} if token else credentials(os.environ)
    except SettingsError as error:
        raise AdminError(
            f"{source} is neither a file nor an address of an admin listener: {error}"
        ) from error
    listed = await AdminListener(address, is_tls, fields, os.environ.get("SSL_CERT_FILE")).list(
        {"limit": str(MAX_LISTED)}
    )
    return (as_listed(saga) for saga in listed["sagas"])


def as_listed(saga: Mapping[str, Any]) -> OpenSaga:
    """A saga in a gateway's list."""
    under_way: Sequence[str] = saga.get("under_way", ())  # a gateway of an older release names one step
    keys = under_way or [key for key in (saga["step"],) if key]
    return OpenSaga(
        saga=saga["saga"],
        version=saga["version"],
        goes_back=_BACK.get(saga["status"]),
        at=tuple(dict.fromkeys(step_name(key) for key in keys if not key.startswith("~"))),
        age_s=saga["age_s"],
        is_whole=bool(under_way),
        has_begun=not any(key.startswith("~") for key in keys),
    )


async def _of_log(path: Path, old: Mesh) -> Iterator[OpenSaga]:
    """Reads without the log's lock, so that it disturbs no gateway."""
    trees = {(saga.name, saga.version): Tree.of(saga) for saga in (*old.sagas, *old.kept)}
    try:
        async with Database(path, is_read_only=True) as database:
            logged = await database.in_thread(open_sagas_in)
    except sqlite3.Error as error:
        raise AdminError(f"{path} can't be read as a saga log: {error}") from error
    now_ms = SystemClock().wall_ms()
    return (_of(saga, trees, now_ms) for saga in logged)


def _of(logged: Found, trees: Mapping[tuple[str, int], Tree], now_ms: int) -> OpenSaga:
    if isinstance(logged, UnreadableSaga):
        age_s = max(0.0, (now_ms - logged.started_ms) / 1000)
        return OpenSaga(saga=logged.saga, version=logged.version, goes_back=None, at=(), age_s=age_s)
    accepted, history = logged.accepted, fold(logged.rows)
    tree = trees.get((accepted.saga, accepted.version), _UNKNOWN)
    return OpenSaga(
        saga=accepted.saga,
        version=accepted.version,
        goes_back=history.turned_back is not None,
        at=places(history, tree),
        age_s=max(0.0, (now_ms - accepted.at_ms) / 1000),
        has_begun=has_begun(history, tree),
    )


_UNKNOWN = Tree(())
