"""betterproto2's compiler as a program (a protoc plugin), with three mistakes mended and one slow part made fast.

It runs as a process, by its path: CodeGeneratorRequest on stdin, CodeGeneratorResponse on stdout. It imports nothing
of ours, so only the compiler must be installed.
"""

import atexit
import datetime
import gc
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import jinja2
from betterproto2_compiler import known_types
from betterproto2_compiler.plugin import compiler
from betterproto2_compiler.plugin.main import main
from jinja2.bccache import Bucket


@dataclass
class Duration:
    """Stands for the emitted class: the source of its method is what the compiler copies into it."""

    seconds: int
    nanos: int

    @classmethod
    def from_timedelta(cls, delta: datetime.timedelta) -> "Duration":
        """Seconds and nanos have the same sign, as google.protobuf.Duration demands.

        betterproto2's own truncates the seconds and floors the rest: -1.5 s arrives as -0.5 s.
        """
        seconds, microseconds = divmod(abs(delta) // datetime.timedelta(microseconds=1), 1_000_000)
        sign = -1 if delta < datetime.timedelta() else 1
        return cls(sign * seconds, sign * microseconds * 1000)


class CompiledTemplates(jinja2.BytecodeCache):
    """The compiler makes an environment for each module, and so compiles its templates again: 80 % of its time."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self._compiled.get(bucket.key):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


HEADER = """\
__all__: tuple[str, ...] = (
    {%- for name in all -%}
    "{{ name }}",
    {%- endfor -%}
)

import builtins
import datetime
import re
import typing
from dataclasses import dataclass

import betterproto2
import dateutil.parser
{% if output_file.package == "google.protobuf" %}
from typing_extensions import Self
{% endif %}

from {{ "." * output_file.package.count(".") }}{{ "." if output_file.package }}.message_pool import default_message_pool

_COMPILER_VERSION = "{{ version }}"
betterproto2.check_compiler_version(_COMPILER_VERSION)
"""
"""In place of betterproto2's. That imports what only its services use, and a message may have a name like one of
these; and it leaves it to the type checker to find the type of `__all__`, which is too much work from 257 names on."""

DOCSTRING = """\
    {{ message.comment | indent(4) }}
    {% if message.oneofs %}

    Oneofs:
        {% for oneof in message.oneofs %}
        - {{ oneof.name }}: {{ oneof.comment | indent(12) }}
        {% endfor %}
    {% endif %}
"""
MENDED_DOCSTRING = """\
    {% if message.comment %}
    {{ message.comment | indent(4) }}
    {% endif %}
    {% if message.comment and message.oneofs %}

    {% endif %}
    {% if message.oneofs %}
    Oneofs:
        {% for oneof in message.oneofs %}
        - {{ oneof.name }}{{ (": " ~ oneof.comment | indent(12)) if oneof.comment }}
        {% endfor %}
    {% endif %}
"""
"""Without blank lines where there is no comment."""


class MendedTemplates(jinja2.BaseLoader):
    """The compiler's own templates, but for the parts above."""

    def __init__(self, own: jinja2.BaseLoader) -> None:
        self._own = own

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, is_current = self._own.get_source(environment, template)
        if template == "header.py.j2":
            return HEADER, path, is_current
        return source.replace(DOCSTRING, MENDED_DOCSTRING), path, is_current


def mend() -> None:
    """Replace the compiler's parts with ours."""
    compiled = CompiledTemplates()

    def environment(*, loader: jinja2.BaseLoader, **options: Any) -> jinja2.Environment:
        return jinja2.Environment(loader=MendedTemplates(loader), bytecode_cache=compiled, **options)

    setattr(compiler, "jinja2", SimpleNamespace(**{**vars(jinja2), "Environment": environment}))  # noqa: B010
    known = cast(dict[tuple[str, str], list[Callable[..., object]]], vars(known_types)["KNOWN_METHODS"])
    methods = known["google.protobuf", "Duration"]
    names = [method.__name__ for method in methods]
    methods[names.index("from_timedelta")] = Duration.from_timedelta


if __name__ == "__main__":
    gc.disable()  # the process ends soon
    atexit.register(gc.freeze)  # otherwise Python would still look through everything at exit
    mend()
    main()
