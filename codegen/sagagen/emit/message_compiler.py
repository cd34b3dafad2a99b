"""betterproto2's compiler as a program (a protoc plugin), with one mistake of its own mended.

Run as a process, by its path: CodeGeneratorRequest on stdin, CodeGeneratorResponse on stdout. It imports nothing of
ours, so it needs no more than the compiler to be installed.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from betterproto2_compiler import known_types
from betterproto2_compiler.plugin.main import main


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


def mend() -> None:
    """Put ours in the place of the compiler's."""
    known = cast(dict[tuple[str, str], list[Callable[..., object]]], vars(known_types)["KNOWN_METHODS"])
    methods = known["google.protobuf", "Duration"]
    names = [method.__name__ for method in methods]
    methods[names.index("from_timedelta")] = Duration.from_timedelta


if __name__ == "__main__":
    mend()
    main()
