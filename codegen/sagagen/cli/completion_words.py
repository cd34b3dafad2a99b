"""What the shell offers: codes, and the sagas, services, steps and rpcs of the current project.

Runs at each press of the tab key, in projects that may be broken: it reads saga.yaml and the protos as lines, imports
nothing heavy, and offers nothing if anything is amiss.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sagagen.workspace.project import CONTRACT, ProjectNotFound, find_root

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[a-z][a-z0-9_]*):")
_STEP = re.compile(r"^ *- *(?:\{ *)?name: *(?P<name>[a-z][a-z0-9_]*)")
_SERVICE = re.compile(r"^service (?P<name>\w+)")
_PACKAGE = re.compile(r"^package (?P<name>[\w.]+)")
_RPC = re.compile(r"^\s+rpc (?P<name>\w+)")
_IMPLEMENTS = re.compile(r"^ +(?P<name>[a-z][a-z0-9_]*): *\{.*implements: *\[(?P<protos>[^\]]*)\]")


def complete_codes(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from sagagen.catalogue import ENTRIES

    entries = ENTRIES.values()
    return [
        CompletionItem(entry.code, help=entry.cause)
        for entry in entries
        if entry.code.startswith(incomplete.upper())
    ]


def complete_sagas(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _starting_with(incomplete, _below("sagas", _lines(ctx)))


def complete_services(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _starting_with(incomplete, _below("services", _lines(ctx)))


def complete_processes(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _starting_with(incomplete, iter(["gateway", "engine", *_below("services", _lines(ctx))]))


def complete_steps(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Of the saga that the command line names before."""
    # An option without its value ends click's parsing before it comes to arguments: then they are still in `args`.
    saga = ctx.params.get("saga") or next(iter(ctx.args), None)
    return _starting_with(incomplete, _steps(saga, _lines(ctx))) if isinstance(saga, str) else []


def complete_calls(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """service/Method, as steps call it."""
    implemented = {
        proto.strip(): found["name"]
        for line in _lines(ctx)
        if (found := _IMPLEMENTS.match(line))
        for proto in found["protos"].split(",")
    }
    calls = (f"{implemented[service]}/{rpc}" for service, rpc in _rpcs(ctx) if service in implemented)
    return _starting_with(incomplete, calls)


def complete_rpcs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """package.Service/Method, as triggers name it."""
    return _starting_with(incomplete, (f"{service}/{rpc}" for service, rpc in _rpcs(ctx)))


def _starting_with(incomplete: str, words: Iterator[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]


def _root(ctx: click.Context) -> Path | None:
    directory = ctx.params.get("directory")
    try:
        return find_root(directory if isinstance(directory, Path) else None)
    except (ProjectNotFound, OSError):
        return None


def _lines(ctx: click.Context) -> list[str]:
    root = _root(ctx)
    return _read(root / CONTRACT) if root is not None else []


def _read(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig", errors="replace").splitlines()
    except OSError:
        return []


def _below(section: str, lines: list[str]) -> Iterator[str]:
    """The keys right below a key at the top."""
    is_inside, indent = False, 0
    for line in lines:
        found = _KEY.match(line)
        if found is None:
            continue
        depth = len(found["indent"])
        if depth == 0:
            is_inside, indent = found["key"] == section, 0
        elif is_inside and depth == (indent or depth):
            indent = depth
            yield found["key"]


def _steps(saga: str, lines: list[str]) -> Iterator[str]:
    names = set(_below("sagas", lines))
    current = ""
    for line in lines:
        key = _KEY.match(line)
        if key is not None and key["key"] in names:
            current = key["key"]
        elif current == saga and (step := _STEP.match(line)):
            yield step["name"]


def _rpcs(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Full name of the service, and name of the rpc."""
    root = _root(ctx)
    for path in sorted((root / CONTRACT.parent).rglob("*.proto")) if root is not None else ():
        package = service = ""
        for line in _read(path):
            if found := _PACKAGE.match(line):
                package = f"{found['name']}."
            elif found := _SERVICE.match(line):
                service = f"{package}{found['name']}"
            elif service and (found := _RPC.match(line)):
                yield service, found["name"]
