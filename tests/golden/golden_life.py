"""A program: imports the mesh of each project that it is named, and sends it the requests that it is given.

All in one process, since importing the runtime is most of what it takes. On stdin {root: requests}, on stdout
{root: {"imports": what went wrong, "answers": what it answered}}.
"""

import asyncio
import contextlib
import importlib
import io
import json
import re
import socket
import sys
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
from betterproto2 import MessagePool
from proto_texts import filled

from sagagen.cli.up_announcement import announce
from sagagen.runtime.edge.json.protojson import JsonReader, JsonWriter
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.process.embedded import embedded
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings

PACKAGES = ("generated", "handlers", "gateway")
SAMPLE = "<the sample that `sagagen up` prints>"
_CHANGES = re.compile(r'"(trace_id|span_id)": "[0-9a-f]+"')
"""What differs from run to run."""


@contextmanager
def imported_from(root: Path) -> Generator[None]:
    """Every project has packages of the same names."""
    path = [*sys.path]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
            del sys.modules[name]


def import_all(root: Path) -> Iterator[ModuleType]:
    """Every module of the project, that of each proto package too."""
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield importlib.import_module(".".join(parts).removesuffix(".__init__"))


def use_messages(project: Project) -> None:
    """Each message of the contract, with a value in each field: to Python and back, and to JSON and back."""
    schema = Schema(project.mesh.descriptors.read_bytes())
    pool: MessagePool = importlib.import_module("generated.pb.message_pool").default_message_pool
    for url, message_class in pool.url_to_type.items():
        assert bytes(message_class.parse(b"")) == b"", message_class
        full_name = url.rpartition("/")[2].lstrip(".")
        native = schema.message_type(full_name)
        descriptor = schema.descriptor(full_name)
        original = filled(descriptor)
        data = original.SerializePartialToString()
        read = message_class.parse(data)
        assert repr(read)
        assert native.FromString(bytes(read)) == original, full_name
        if (
            native.DESCRIPTOR.full_name != "google.protobuf.Any"
        ):  # which holds a message, and this one holds none
            again = native()
            JsonReader(descriptor, schema.pool).read(JsonWriter(native).write(data), again)
            assert again == original, full_name


def live(root: Path, requests: str) -> Mapping[str, str]:
    """What went wrong, and what was answered."""
    with imported_from(root):
        try:
            project = Project.load(root)
            for _ in import_all(root):
                pass
            use_messages(project)
            for service in project.mesh.services:
                project.handlers(service)
            answers = asyncio.run(answered(project, requests)) if requests else ""
        except Exception:  # noqa: BLE001 - whatever it is: it is the outcome
            return {"imports": traceback.format_exc(), "answers": ""}
    return {"imports": "", "answers": answers}


async def answered(project: Project, requests: str) -> str:
    """Requests stand apart by an empty line: verb and path, headers, and on the last line the body, if it is JSON."""
    port, admin = free_port(), free_port()
    environment = {"SAGAGEN_HTTP_ADDR": f"127.0.0.1:{port}", "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}"}
    settings = Settings.read(environment, project.root)
    settings.data_dir.mkdir()
    async with (
        embedded(project, settings),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        return "\n".join(
            [await _answer(client, project, settings, each) for each in requests.strip().split("\n\n")]
        )


async def _answer(client: httpx.AsyncClient, project: Project, settings: Settings, request: str) -> str:
    first, *lines = [line for line in request.splitlines() if not line.startswith("#")]
    verb, _, path = first.partition(" ")
    body = lines.pop() if lines and not re.match(r"[A-Za-z-]+: ", lines[-1]) else ""
    if body == SAMPLE:
        body = sample(project, settings)
    headers = {"Content-Type": "application/json", **dict(line.split(": ", 1) for line in lines)}
    answer = await client.request(verb, path, content=body.encode(), headers=headers)
    return f"{request}\n--> {answer.status_code}\n{_shown(answer)}"


def sample(project: Project, settings: Settings) -> str:
    """The body of the request that `sagagen up` prints, to be tried at once."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        announce(project, settings)
    found = re.search(r"-d '(.*)'$", printed.getvalue(), re.MULTILINE)
    assert found, "no request is printed"
    return found.group(1)


def _shown(answer: httpx.Response) -> str:
    text = json.dumps(answer.json(), indent=1, sort_keys=True, ensure_ascii=False) if answer.content else ""
    return _CHANGES.sub(r'"\1": "..."', text) + "\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    asked: dict[str, Any] = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # what is logged is no part of the answer
        found = {root: live(Path(root), requests) for root, requests in asked.items()}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
