"""betterproto2's compiler as a program (a protoc plugin), with one mistake fixed and one slow part made fast.

It runs as a process, by its path: CodeGeneratorRequest on stdin, CodeGeneratorResponse on stdout. It imports nothing
of ours, so only the compiler must be installed.
"""

import atexit
import datetime
import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import cast

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


def mend() -> None:
    """Replace the compiler's parts with ours."""
    environment = partial(jinja2.Environment, bytecode_cache=CompiledTemplates())
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
