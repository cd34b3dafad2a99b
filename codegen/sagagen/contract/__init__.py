"""The contract: protos through a buf image and saga.yaml -> one frozen, fully resolved, typed model, or diagnostics.

    load (all I/O) -> Sources -> resolve (pure) -> Mesh

`load` runs buf and reads files. `resolve` links the descriptors (protos), reads the YAML with its places (document) and
its shape (shape, reading), binds the names (services, calls, sagas), checks the rules (checks, routes) and compiles the
expressions. Each stage reports what it finds and goes on with the rest, so that one run shows every mistake.

A name's module is imported on first use, so that buf can work (`loading`) while the rest is imported. Nothing here
writes files or knows how Python is emitted; expressions have a package of their own.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagagen.contract.buf import BufMissing
    from sagagen.contract.loading import Loading, Sources, load
    from sagagen.contract.model import Mesh
    from sagagen.contract.resolving import read_contract, read_loaded, resolve
    from sagagen.contract.shape import saga_schema

__all__ = [
    "BufMissing",
    "Loading",
    "Mesh",
    "Sources",
    "load",
    "read_contract",
    "read_loaded",
    "resolve",
    "saga_schema",
]

_HOMES = {
    "BufMissing": "buf",
    **dict.fromkeys(("Loading", "Sources", "load"), "loading"),
    "Mesh": "model",
    **dict.fromkeys(("read_contract", "read_loaded", "resolve"), "resolving"),
    "saga_schema": "shape",
}
"""The module of each name."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
