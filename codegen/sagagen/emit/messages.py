"""The contract's messages and enums as betterproto2 classes, one module for each proto package."""

import functools
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorResponse

from sagagen.contract.model import Mesh
from sagagen.emit import message_compiler
from sagagen.emit.header import header, sources_of
from sagagen.emit.layout import environment, write_settings
from sagagen.emit.renaming import Docs, code_generator_request
from sagagen.python_names import PythonNames


class CompilerError(Exception):
    """betterproto2's compiler failed: a mistake in this program, or in it; not in the contract."""


@dataclass(frozen=True, slots=True)
class MessageModuleView:
    """A module of messages: the compiler's own header replaced by ours."""

    header: str
    has_untyped_methods: bool
    """betterproto2 copies methods into well-known types, and does not annotate all of their parameters."""
    lines: tuple[str, ...]


def message_module_view(package: str, mesh: Mesh) -> MessageModuleView:
    """`package`: dotted Python package below `generated.pb`."""
    names = mesh.names
    files = [file for file in names.files if names.packages[file.package] == package]
    source = compile_messages(names, mesh.docs)[package]
    body = dropwhile(lambda line: line.startswith("#"), _on_our_base(source).splitlines())
    sources = sources_of(mesh, files, with_sagas=False)
    return MessageModuleView(
        header=header(sources, by=" with betterproto2"),
        has_untyped_methods=package == "google.protobuf",
        lines=tuple(body),
    )


def _on_our_base(source: str) -> str:
    """Its classes on the runtime's base, which brings google.protobuf to the wire."""
    return source.replace("(betterproto2.Message):", "(wire.Message):").replace(
        "\nimport betterproto2\n", "\nimport betterproto2\n\nfrom sagagen.runtime import wire\n", 1
    )


def compile_messages(names: PythonNames, docs: Docs) -> dict[str, str]:
    """Dotted Python package below `generated.pb` -> source of its module."""
    request = code_generator_request(names, docs)
    sources = _compile(request.SerializeToString(deterministic=True))
    return {
        package: sources[f"{package.replace('.', '/')}/__init__.py".lstrip("/")]
        for package in sorted(names.packages.values())
    }


@functools.lru_cache(maxsize=8)
def _compile(request: bytes) -> dict[str, str]:
    """The compiler's answer: path -> source.

    In a process and a folder of its own: it reads ruff's settings and writes to the current folder, prints what it
    does, calls the ruff that it finds on PATH, and the order in which it iterates over sets decides what comes out.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_settings(Path(folder))
        done = subprocess.run(
            [sys.executable, "-P", message_compiler.__file__],
            input=request,
            cwd=folder,
            env=environment(),
            capture_output=True,
            check=False,
        )
    if done.returncode:
        raise CompilerError(done.stderr.decode(errors="replace"))
    response = CodeGeneratorResponse.FromString(done.stdout)
    return {Path(file.name).as_posix(): file.content for file in response.file}
