"""What is in the place of a handler file, or keeps it from being edited."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sagagen.diagnostics import Diagnostic, Severity
from sagagen.emit.handler_contract import HandlerContract
from sagagen.source import Span
from sagagen.workspace.handler_codes import HandlerCode
from sagagen.workspace.synced import Synced


def in_the_way(root: Path, contracts: Iterable[HandlerContract]) -> Iterator[Diagnostic]:
    """Folders where Python would look for, or find, something else than the handler file."""
    for contract in contracts:
        package = contract.path.removesuffix(".py")
        if (root / contract.path).is_dir():
            yield _finding(contract.path, "this is a folder, where the mesh loads a file", "move it away")
        if (root / package / "__init__.py").is_file():
            message = f"Python loads this package, and never {contract.path}"
            hint = f"give the package another name, and import it in {contract.path}"
            yield _finding(f"{package}/__init__.py", message, hint)


def left_if_in_the_way(root: Path, handler: Synced, before: bytes) -> Synced:
    """The file as it was, if it would be edited and may not be written: somebody has locked it."""
    path = root / handler.path
    if handler.content == before or path.stat().st_mode & 0o222:
        return handler
    methods = ", ".join(dict.fromkeys([*handler.added, *handler.followed])) or "imports"
    message = f"this file may not be written, and has to be brought in line: {methods}"
    found = _finding(handler.path, message, f"chmod u+w {handler.path}, and run `sagagen generate` again")
    return replace(Synced.untouched(handler.path, before), findings=(*handler.findings, found))


def _finding(path: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(Span(path), Severity.ERROR, HandlerCode.IN_THE_WAY, message, hint)
