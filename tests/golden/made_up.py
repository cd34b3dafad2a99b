"""Contracts made up by hypothesis: whatever protoc takes, in any combination, with a saga.yaml about it.

Most compile. What does not, buf says, and so does `sagagen check`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from odd_names import ODD_NAMES, free

T = TypeVar("T")

SCALARS = (
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
    "sfixed64", "bool", "string", "bytes",
)  # fmt: skip
KEYS = tuple(name for name in SCALARS if name not in {"double", "float", "bytes"})
_FILES = {
    "any": "Any", "duration": "Duration", "empty": "Empty", "field_mask": "FieldMask",
    "struct": "ListValue Struct Value", "timestamp": "Timestamp",
    "wrappers": "BoolValue BytesValue DoubleValue FloatValue Int32Value Int64Value StringValue UInt32Value UInt64Value",
}  # fmt: skip
WELL_KNOWN = {name: file for file, inside in _FILES.items() for name in inside.split()}
"""Message of google.protobuf -> its file."""
SYNTAXES = ('syntax = "proto3";', 'syntax = "proto3";', 'syntax = "proto2";', 'edition = "2023";')
RULES = {
    "string": "string.min_len = 1", "int32": "int32.gt = 0", "bytes": "bytes.max_len = 9", "bool": "required = true",
    "double": "double.finite = true",
}  # fmt: skip
COMMENTS = (
    'Ends in a "quote"', '"""', "\\", "back\\slash \\N{x} \\u12 \\x", "{{ braces }} {% raw %}", "  indented\n    more",
    "`ticks` **stars** <b>tags</b> | pipes |", "größe \U0001f600 \u2028 line", "# hash", "a\n\n\nb", "'''", "%s {0}",
)  # fmt: skip
SERVICES = (
    "shop",
    "import",
    "class",
    "self",
    "mesh",
    "service",
    "order_v2",
    "a",
    "str",
    "none",
    "routes",
    "sagas",
)
STEPS = ("sell", "import", "class", "lambda", "scope", "saga", "steps", "input", "self", "sell2", "a", "str")
SAGAS = ("sell", "import", "class", "saga", "mesh", "none", "a", "str", "sell_v1", "print")

odd = st.sampled_from(ODD_NAMES)
made = st.from_regex(r"[abAB_][abAB_1]{0,5}", fullmatch=True).filter(lambda name: name.strip("_"))
names = st.one_of(odd, made, st.sampled_from(("id", "name", "Order", "line_items", "STATUS_OPEN")))
segments = st.one_of(
    st.sampled_from(("a", "b", "v1", "v2", "shop", "common")),
    st.sampled_from(
        ("import", "class", "str", "wire", "Google", "datetime", "message_pool", "A", "None", "self", "re")
    ),
)
packages = st.one_of(st.just(""), st.lists(segments, min_size=1, max_size=3).map(".".join))


@dataclass(frozen=True)
class Type:
    """A message or an enum that fields may have."""

    full_name: str
    file: str
    syntax: str
    is_enum: bool = False


AS_A_WHOLE = tuple(
    Type(f"google.protobuf.{name}", f"google/protobuf/{file}.proto", "proto3")
    for name, file in WELL_KNOWN.items()
)
"""Well-known types as requests and responses."""


@dataclass(frozen=True)
class Rpc:
    service: str
    name: str
    request: str
    response: str
    streams: bool
    is_read: bool = False


@dataclass
class File:
    path: str
    package: str
    syntax: str
    imports: dict[str, str] = field(default_factory=dict[str, str])
    """Path -> `public `, or nothing."""
    lines: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        package = [f"package {self.package};"] if self.package else []
        imports = [f'import {kind}"{path}";' for path, kind in sorted(self.imports.items())]
        return "\n".join([self.syntax, *package, *imports, *self.lines, ""])

    def named(self, name: str) -> str:
        return f"{self.package}.{name}".lstrip(".")


@dataclass
class Maker:
    """Grows a contract. What is there already may be used in what comes."""

    draw: DrawFn
    files: list[File] = field(default_factory=list[File])
    types: list[Type] = field(default_factory=list[Type])
    rpcs: list[Rpc] = field(default_factory=list[Rpc])
    taken: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """The names in each package."""
    fields: dict[str, list[tuple[str, str]]] = field(default_factory=dict[str, list[tuple[str, str]]])
    """Message -> the names and types of its singular fields."""

    def one_of(self, *values: T) -> T:
        return self.draw(st.sampled_from(values))

    def chance(self, percent: int) -> bool:
        return self.draw(st.integers(1, 100)) <= percent

    def file(self, number: int, package: str) -> File:
        file = File(f"made_up/f{number}.proto", package, self.one_of(*SYNTAXES))
        kind = self.one_of("all", "all", "all", "enums", "options", "public imports", "services", "nothing")
        if kind == "public imports":
            for other in self.files:
                file.imports[other.path] = "public "
        if kind in {"all", "enums"}:
            for _ in range(self.draw(st.integers(0, 2))):
                self.enum(file, file.named, self._taken(package), file.lines.append)
        if kind == "all":
            for _ in range(self.draw(st.integers(0, 4))):
                self.message(file)
        if kind == "options":
            self.options(file, number)
        if kind in {"all", "services"}:
            for _ in range(self.draw(st.integers(0, 2))):
                self.service(file)
        self.files.append(file)
        return file

    def _taken(self, package: str) -> set[str]:
        return self.taken.setdefault(package, set())

    def options(self, file: File, number: int) -> None:
        file.imports["google/protobuf/descriptor.proto"] = ""
        label = "optional " if "edition" not in file.syntax else ""
        name = free(self.draw(names), self._taken(file.package))
        field = f"{label}string {name} = {50_000 + number};"
        file.lines += ["extend google.protobuf.FieldOptions {", f"  {field}", "}"]

    def comment(self, indent: str = "") -> list[str]:
        if not self.chance(15):
            return []
        return [f"{indent}// {line}" for line in self.one_of(*COMMENTS).split("\n")]

    def enum(
        self,
        file: File,
        full_name: Callable[[str], str],
        taken: set[str],
        put: Callable[[str], None],
        indent: str = "",
    ) -> None:
        name = free(self.draw(names), taken)
        prefix = self.one_of("", f"{name}_", f"{name.upper()}_")
        stripped: set[str] = {name.replace("_", "").lower()}
        values: list[str] = []
        for number in range(self.draw(st.integers(1, 5))):
            value = free(prefix + free(self.draw(names), stripped), taken)
            values.append(f"{indent}  {value} = {number * self.one_of(1, 1, 1, -7)};")
        for line in [*self.comment(indent), f"{indent}enum {name} {{", *values, f"{indent}}}"]:
            put(line)
        self.types.append(Type(full_name(name), file.path, file.syntax, is_enum=True))

    def message(self, file: File) -> None:
        name = free(self.draw(names), self._taken(file.package))
        lines = self.comment()
        self._message(file, file.named(name), name, "", lines)
        file.lines += lines

    def _message(self, file: File, full_name: str, name: str, indent: str, lines: list[str]) -> None:
        self.types.append(Type(full_name, file.path, file.syntax))
        lines.append(f"{indent}message {name} {{")
        taken: set[str] = {name.replace("_", "").lower()}
        inner = f"{indent}  "
        if len(indent) < 4:
            for _ in range(self.draw(st.sampled_from((0, 0, 1, 2)))):
                nested = free(self.draw(names), taken)
                self._message(file, f"{full_name}.{nested}", nested, inner, lines)
        if self.chance(20):
            self.enum(file, lambda enum: f"{full_name}.{enum}", taken, lines.append, inner)
        numbers = iter(range(1, 10_000, self.one_of(1, 1, 13)))
        singular: list[tuple[str, str]] = []
        for _ in range(self.draw(st.integers(0, 6))):
            lines += self.comment(inner)
            lines += self.field(file, taken, next(numbers), inner, singular)
        if self.chance(25):
            lines.append(f"{inner}oneof {free(self.draw(names), taken)} {{")
            for _ in range(self.draw(st.integers(1, 3))):
                kind = self.type(file)
                lines.append(f"{inner}  {kind} {free(self.draw(names), taken)} = {next(numbers)};")
            lines.append(f"{inner}}}")
        if "proto2" in file.syntax and self.chance(10):
            lines.append(f"{inner}extensions 100000 to max;")
        lines.append(f"{indent}}}")
        self.fields[full_name] = singular

    def type(self, file: File, scalars: int = 60) -> str:
        """A type that a field of the file may have; what it needs is imported."""
        if self.chance(scalars):
            return self.one_of(*SCALARS)
        if self.chance(30):
            name = self.one_of(*WELL_KNOWN)
            file.imports[f"google/protobuf/{WELL_KNOWN[name]}.proto"] = ""
            return f".google.protobuf.{name}"
        fits = [one for one in self.types if not one.is_enum or one.syntax == file.syntax]
        if not fits:
            return "string"
        return self._reached(file, self.one_of(*fits))

    def _reached(self, file: File, wanted: Type) -> str:
        if wanted.file != file.path:
            file.imports.setdefault(wanted.file, "")
        return f".{wanted.full_name}"

    def field(
        self, file: File, taken: set[str], number: int, indent: str, singular: list[tuple[str, str]]
    ) -> list[str]:
        name = free(self.draw(names), taken)
        if self.chance(15) and name.strip("_")[:1].isalpha():  # else buf cannot name the map's entries
            return [f"{indent}map<{self.one_of(*KEYS)}, {self.type(file)}> {name} = {number};"]
        kind = self.type(file)
        labels = {
            "proto2": ("optional ", "optional ", "optional ", "optional ", "required "),
            "proto3": ("", "", "optional "),
        }
        label = next((self.one_of(*some) for key, some in labels.items() if key in file.syntax), "")
        if self.chance(20):
            label = "repeated "
        else:
            singular.append((name, kind))
        options = self._options(file, kind, label)
        return [f"{indent}{label}{kind} {name} = {number}{f' [{options}]' if options else ''};"]

    def _options(self, file: File, kind: str, label: str) -> str:
        if self.chance(8):
            return "deprecated = true"
        if self.chance(8):
            return "debug_redact = true"
        if "edition" in file.syntax and label != "repeated " and self.chance(10):
            implicit = "IMPLICIT" if kind in SCALARS else "EXPLICIT"
            return f"features.field_presence = {self.one_of(implicit, 'LEGACY_REQUIRED')}"
        if kind in RULES and label != "repeated " and self.chance(10):
            file.imports["buf/validate/validate.proto"] = ""
            return f"(buf.validate.field).{RULES[kind]}"
        return ""

    def whole(self, file: File) -> str:
        """A request or a response."""
        messages = [one for one in self.types if not one.is_enum]
        known = AS_A_WHOLE if not messages or self.chance(10) else messages
        return self._reached(file, self.one_of(*known))

    def service(self, file: File) -> None:
        """Its rpcs have requests and responses that are there already."""
        name = free(self.draw(names), self._taken(file.package))
        file.lines += [*self.comment(), f"service {name} {{"]
        taken: set[str] = set()
        for _ in range(self.draw(st.integers(0, 4))):
            request, response = (self.whole(file) for _ in range(2))
            streams = self.one_of(("", ""), ("", ""), ("", ""), ("stream ", ""), ("", "stream "))
            is_read = self.chance(25)
            rpc = Rpc(
                file.named(name), free(self.draw(names), taken), request, response, any(streams), is_read
            )
            written = self.one_of(";", f" {{ {self._route(file, rpc)} }}")
            end = f" {{ {self._read(file, rpc)} }}" if is_read else written
            file.lines += self.comment("  ")
            file.lines.append(
                f"  rpc {rpc.name}({streams[0]}{request}) returns ({streams[1]}{response}){end}"
            )
            self.rpcs.append(rpc)
        file.lines.append("}")

    def _read(self, file: File, rpc: Rpc) -> str:
        read = "option idempotency_level = NO_SIDE_EFFECTS;"
        if rpc.streams or self.chance(40):
            return read
        file.imports["google/api/annotations.proto"] = ""
        return f'{read} option (.google.api.http) = {{get: "{self._path(rpc)}"}};'

    def _route(self, file: File, rpc: Rpc) -> str:
        file.imports["google/api/annotations.proto"] = ""
        verb = self.one_of("post", "put", "patch", "delete")
        body = "" if verb == "delete" else self.one_of(' body: "*"', "")
        return f'option (.google.api.http) = {{{verb}: "{self._path(rpc)}"{body}}};'

    def _path(self, rpc: Rpc) -> str:
        """What is not in it, or in the body, comes from the query."""
        path = f"/rpc{len(self.rpcs)}"
        texts = [name for name, kind in self.fields.get(rpc.request[1:], []) if kind in {"string", "int32"}]
        return f"{path}/{{{texts[0]}}}" if texts else path

    def front(self, package: str, sagas: Sequence[str]) -> tuple[list[Rpc], Rpc]:
        """An rpc to start each saga, and one that steps can call."""
        file = File("made_up/front.proto", package, self.one_of(*SYNTAXES))
        file.imports["google/api/annotations.proto"] = ""
        self.message(file)
        front, back = free("Front", self._taken(package)), free("Back", self._taken(package))
        starts = [
            Rpc(
                file.named(front),
                f"Start{number}",
                self.whole(file),
                self.whole(file),
                streams=False,
            )
            for number, _ in enumerate(sagas)
        ]
        call = Rpc(file.named(back), self.draw(names), starts[0].request, starts[0].response, streams=False)
        file.lines.append(f"service {front} {{")
        for number, rpc in enumerate(starts):
            route = f'option (.google.api.http) = {{post: "/{number}" body: "*"}};'
            file.lines.append(f"  rpc {rpc.name}({rpc.request}) returns ({rpc.response}) {{ {route} }}")
        file.lines += ["}", f"service {back} {{"]
        file.lines += [f"  rpc {call.name}({call.request}) returns ({call.response});", "}"]
        self.files.append(file)
        return starts, call

    def saga_yaml(self) -> str:
        """Services that implement what is there, and sagas that call them."""
        sagas = self.draw(st.lists(st.sampled_from(SAGAS), min_size=1, max_size=2, unique=True))
        starts, call = self.front(self.draw(packages), sagas)
        calls = [*self.rpcs, call]
        owners: dict[str, str] = {}
        for service in sorted({rpc.service for rpc in calls}):
            fresh = [name for name in SERVICES if name not in owners.values()]
            owners[service] = (
                self.one_of(*fresh) if not owners or self.chance(90) else next(iter(owners.values()))
            )
        lines = ["version: v1", "project: made-up", "services:"]
        for name in dict.fromkeys(owners.values()):
            implemented = ", ".join(service for service in owners if owners[service] == name)
            lines.append(f"  {name}: {{ implements: [{implemented}] }}")
        lines.append("sagas:")
        unary = [rpc for rpc in calls if not rpc.streams]
        for name, start in zip(sagas, starts, strict=True):
            lines += self._saga(name, start, unary, owners)
        return "\n".join([*lines, ""])

    def _saga(self, name: str, start: Rpc, calls: Sequence[Rpc], owners: Mapping[str, str]) -> list[str]:
        lines = [f"  {name}:", f"    trigger: {start.service}/{start.name}"]
        if self.chance(60):
            lines.append(f"    respond: {{ after: {self.one_of('acceptance', 'completion')} }}")
        lines.append("    steps:")
        steps = self.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4, unique=True))
        pivot = self.draw(st.integers(0, 5))
        for n, step in enumerate(steps):
            rpc = self.one_of(*calls)
            undo = self.one_of(*(other for other in calls if owners[other.service] == owners[rpc.service]))
            call = f"{{ call: {owners[undo.service]}/{undo.name} }}"
            end = {0: "kind: pivot", 1: "kind: retriable"}.get(min(n - pivot, 1), f"compensate: {call}")
            if end.startswith("compensate") and (rpc.is_read or undo.is_read or self.chance(50)):
                end = "compensate: none"
            name = f"{owners[rpc.service]}/{rpc.name}"
            lines.append(f"      - {{ name: {step}, call: {name}, {self._request(rpc, start)}{end} }}")
        return lines

    def _request(self, rpc: Rpc, start: Rpc) -> str:
        if rpc.request == start.request and self.chance(70):
            return "request: input, "
        there = self.fields.get(start.request[1:], [])
        pairs = [
            f"\"{name}\": 'input.{other}'"
            for name, kind in self.fields.get(rpc.request[1:], [])
            for other, same in there
            if kind == same
        ]
        return f"request: {{ {pairs[0]} }}, " if pairs and self.chance(50) else ""


@st.composite
def contracts(draw: DrawFn) -> Mapping[str, str]:
    """Path -> text, below contracts/."""
    maker = Maker(draw)
    number = 0
    for package in maker.draw(st.lists(packages, min_size=1, max_size=3, unique=True)):
        for _ in range(maker.draw(st.integers(1, 3))):
            number += 1
            maker.file(number, package)
    saga_yaml = maker.saga_yaml()
    return {"saga.yaml": saga_yaml, **{file.path: file.text() for file in maker.files}}
