"""Older versions of sagas: contracts/sagas/<saga>.v<version>.yaml, kept until none of their instances is open.

A file holds what saga.yaml had under the saga's name. It is bound to today's protos and services, so generation
finds every change that breaks an older version (P8).
"""

import re
from collections.abc import Callable, Iterator, Mapping

from sagagen.contract.codes import Code
from sagagen.contract.document import read_document
from sagagen.contract.findings import error
from sagagen.contract.loading import KEPT
from sagagen.contract.located import Key, text_scalar
from sagagen.contract.model import Saga
from sagagen.contract.reading import read_saga
from sagagen.contract.shape import SagaShape
from sagagen.diagnostics import Report
from sagagen.source import Span

_FILE = re.compile(rf"{KEPT}/(?P<saga>[a-z][a-z0-9_]*)\.v(?P<version>[1-9][0-9]*)\.yaml")

Compile = Callable[[Key, SagaShape], Saga | None]
"""Binds and compiles one saga; reports what is wrong with it, and then returns None."""


def resolve_kept(
    texts: Mapping[str, str], current: Mapping[str, Saga], compile_one: Compile, report: Report
) -> Iterator[Saga]:
    """`texts`: by path. `current`: those sagas of saga.yaml that are without errors."""
    for path, text in texts.items():
        name = _FILE.fullmatch(path)
        if name is None:
            message = "the name of this file does not say which saga and version it keeps"
            report(error(Span(path), Code.KEPT_NAME, message, "name it <saga>.v<version>.yaml"))
            continue
        saga = _resolve(path, text, name["saga"], compile_one, report)
        if saga and _is_right(saga, int(name["version"]), current, report):
            yield saga


def _resolve(path: str, text: str, name: str, compile_one: Compile, report: Report) -> Saga | None:
    document = read_document(path, text, report)
    if document is None:
        return None
    key = Key(text_scalar(name, Span(path)))
    shape = read_saga(key, document, report)
    return compile_one(key, shape) if shape else None


def _is_right(saga: Saga, version: int, current: Mapping[str, Saga], report: Report) -> bool:
    at = saga.span
    if saga.version != version:
        message = f"the file is named after version {version}, but says version: {saga.version}"
        report(error(at, Code.KEPT_VERSION, message, f"write version: {version}, or rename the file"))
        return False
    newest = current.get(saga.name)
    if newest and version >= newest.version:
        message = f"version {version} of {saga.name} is kept, but saga.yaml has version {newest.version}"
        hint = f"raise the version in saga.yaml to {version + 1}, or delete this file"
        report(error(at, Code.KEPT_LATER, message, hint))
        return False
    return True
