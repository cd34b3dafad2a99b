"""What an expression may name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor

from sagagen.expression.types import Type

NamedType = Descriptor | EnumDescriptor


class TypeIndex:
    """Every message and enum of the contract and its imports, by full name."""

    def __init__(self, files: Iterable[FileDescriptor]) -> None:
        self._types: dict[str, NamedType] = {}
        for file in _with_imports(files):
            for named_type in _types_of(file):
                self._types[named_type.full_name] = named_type

    def find(self, full_name: str) -> NamedType | None:
        return self._types.get(full_name)

    def resolve(self, name: str, package: str) -> NamedType | None:
        """Resolves a short name from the innermost package outward, as in C++ and proto files, or a full name."""
        scope = package.split(".") if package else []
        for length in range(len(scope), -1, -1):
            if found := self._types.get(".".join([*scope[:length], name])):
                return found
        return None

    def items(self) -> Iterable[tuple[str, NamedType]]:
        """Full name and type, in the order of the files."""
        return self._types.items()


@dataclass(frozen=True)
class Environment:
    """What an expression may read at its place, and how its short names resolve."""

    types: TypeIndex
    package: str
    """The package of the called rpc."""
    input: Descriptor | None
    """The trigger's request; None where it is not known, which `hidden` explains."""
    steps: Mapping[str, Descriptor]
    """Name -> response, for the steps that are done by then."""
    unreadable: Mapping[str, str]
    """Name of any other step -> why it can't be read, as a clause: `it runs later`."""
    failure: bool
    """Whether it is in a compensation, where `failure.code`, `.reason`, `.message` and `.step` are known."""
    total: bool
    """Whether expressions that can fail are refused, since it must always be possible to build the value."""
    caller: bool = True
    saga_id: bool = True
    started_at: bool = True
    event: Descriptor | None = None
    """The message of the event that it belongs to; elsewhere `event` means nothing."""
    request: Descriptor | None = None
    """The message of the call that a route's `allow` is about; elsewhere `request` means nothing."""
    response: Descriptor | None = None
    """What was answered to it."""
    claims: Mapping[str, Type] = field(default_factory=dict[str, Type])
    """Name -> type of what tokens say of the caller; without any, `claims` means nothing."""
    item: tuple[str, Type] | None = None
    """Name and type of the loop's variable."""
    loops: Mapping[str, Descriptor] = field(default_factory=dict[str, Descriptor])
    """Name -> response of one item, for the loops that are done by then. None of them is in `steps`."""
    guarded: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name of a step or loop that is read only behind its `has` -> why, as a clause: `it is skipped unless ...`."""
    guaranteed: frozenset[str] = frozenset()
    """Those of `guarded` that are there all the same, since what reads them is skipped otherwise (`guards`)."""
    hidden: Mapping[str, str] = field(default_factory=dict[str, str])
    """`input`, `caller`, `claims`, `saga.id`, `saga.started_at`, `event`, `request` or `response`, where that is not
    known -> why, as a clause."""

    @property
    def ready_made(self) -> str:
        """Where a value can come from that can't be computed here, as a hint."""
        if self.event is not None:
            return "let the message of the event carry it, ready made"
        if self.request is not None:
            return "let the request or the response carry it, ready made"
        if self.steps or self.loops or self.failure:
            return "compute it in a step, and read it from that step's response"
        return "let the request carry it, ready made"

    def spelled(self, full_name: str) -> str:
        """The shortest name by which an expression here can refer to a type."""
        short = full_name.removeprefix(f"{self.package}.") if self.package else full_name
        found = self.types.resolve(short, self.package)
        return short if found is not None and found.full_name == full_name else full_name


def _with_imports(files: Iterable[FileDescriptor]) -> Iterator[FileDescriptor]:
    seen: set[str] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file.name not in seen:
            seen.add(file.name)
            waiting += file.dependencies
            yield file


def _types_of(file: FileDescriptor) -> Iterator[NamedType]:
    yield from file.enum_types_by_name.values()
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        if not message.GetOptions().map_entry:
            yield message
            yield from message.enum_types
            waiting += message.nested_types
