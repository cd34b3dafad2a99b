"""Puts rpcs, messages and imports into a proto file, laid out as `buf format` does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sagagen.editing.proto_outline import ProtoOutline, Statement, rpcs
from sagagen.editing.text import end_of_comments, has_blank_line, rest_of_line
from sagagen.workspace.source_text import Edit, SourceText

ANNOTATIONS = "google/api/annotations.proto"
INDENT = "  "
WITH_BODY = frozenset({"post", "put", "patch"})
_ONE_COMMENT = re.compile(r"(//.*|/\*((?!\*/).)*\*/)?")


@dataclass(frozen=True, slots=True)
class Http:
    verb: str
    """In lower case."""
    path: str

    def lines(self) -> list[str]:
        if self.verb not in WITH_BODY:
            return [f'option (google.api.http) = {{{self.verb}: "{self.path}"}};']
        return [
            "option (google.api.http) = {",
            f'{INDENT}{self.verb}: "{self.path}"',
            f'{INDENT}body: "*"',
            "};",
        ]


@dataclass(frozen=True, slots=True)
class NewRpc:
    name: str
    is_read: bool
    http: Http | None

    @property
    def request(self) -> str:
        return f"{self.name}Request"

    @property
    def response(self) -> str:
        return f"{self.name}Response"

    def lines(self) -> list[str]:
        """Not indented."""
        head = f"rpc {self.name}({self.request}) returns ({self.response})"
        options = ["option idempotency_level = NO_SIDE_EFFECTS;"] if self.is_read else []
        options += self.http.lines() if self.http else []
        return [f"{head} {{", *(INDENT + line for line in options), "}"] if options else [f"{head};"]


def new_file(package: str, service: str) -> str:
    return f'syntax = "proto3";\n\npackage {package};\n\nservice {service} {{}}\n'


def message(name: str, fields: Sequence[str]) -> list[str]:
    """All fields are texts."""
    if not fields:
        return [f"message {name} {{}}"]
    rows = [f"{INDENT}string {field} = {number};" for number, field in enumerate(fields, start=1)]
    return [f"message {name} {{", *rows, "}"]


def with_service(proto: ProtoOutline, name: str) -> SourceText:
    """A service without rpcs, behind the last one of the file."""
    last = (proto.services or proto.statements)[-1]
    return proto.source.spliced([_below(proto.source, last, [f"service {name} {{}}"])])


def with_rpc(proto: ProtoOutline, service: Statement, rpc: NewRpc, fields: Sequence[str]) -> SourceText:
    """With the rpc, those of its messages that are missing, and the import that its route needs."""
    edits = [_rpc_edit(proto, service, rpc)]
    texts = [
        message(name, fields if name == rpc.request else ())
        for name in (rpc.request, rpc.response)
        if proto.named(name) is None
    ]
    if texts:
        lines = [line for text in texts for line in ("", *text)][1:]
        edits.append(_below(proto.source, _neighbour(proto, service), lines))
    if rpc.http and not any(ANNOTATIONS in found.name for found in proto.imports):
        edits.append(_import_edit(proto, ANNOTATIONS))
    return proto.source.spliced(edits)


def _rpc_edit(proto: ProtoOutline, service: Statement, rpc: NewRpc) -> Edit:
    source, others = proto.source, rpcs(service)
    if not others:
        return _first_rpc(source, service, rpc)
    last = others[-1]
    if not _ends_its_line(source, last) or not source.is_first_on_line(last.start):
        return Edit(last.end, last.end, f" {' '.join(line.strip() for line in rpc.lines())}")
    indent = source.indentation(last.start)
    end = _behind_comments(source, last)
    before = [others[-2].end, last.start] if len(others) > 1 else [0, 0]
    is_spaced = len(others) < 2 or has_blank_line(source.text[before[0] : before[1]])
    lines = [*([""] if is_spaced else []), *(indent + line for line in rpc.lines())]
    return Edit(end, end, "".join(source.newline(end) + line for line in lines))


def _first_rpc(source: SourceText, service: Statement, rpc: NewRpc) -> Edit:
    assert service.open is not None
    newline, outer = source.newline(service.start), source.indentation(service.start)
    lines = [outer + INDENT + line for line in rpc.lines()]
    body = source.text[service.open.end : service.close.start]
    if source.line(service.open.start) != source.line(service.close.start):
        at = source.line_start(service.close.start)
        gap = newline if body.strip() else ""
        return Edit(at, at, gap + "".join(line + newline for line in lines))
    at = service.close.start
    start = service.open.end if not body.strip() else at
    return Edit(start, at, "".join(newline + line for line in lines) + newline + outer)


def _neighbour(proto: ProtoOutline, service: Statement) -> Statement:
    """The last message of the rpc before it, if it is at the top of this file; otherwise the last declaration."""
    others = rpcs(service)
    names = others[-1].types() if others else ()
    found = [declared for name in names if (declared := proto.named(name)) is not None]
    return max(found or proto.declarations, key=lambda declared: declared.end)


def _below(source: SourceText, above: Statement, lines: Sequence[str]) -> Edit:
    end = _behind_comments(source, above) if _ends_its_line(source, above) else above.end
    newline = source.newline(end)
    return Edit(end, end, newline + "".join(newline + line for line in lines))


def _import_edit(proto: ProtoOutline, path: str) -> Edit:
    """Among the imports, which are sorted; without imports, below the package."""
    source, line = proto.source, f'import "{path}";'
    smaller = [found for found in proto.imports if _imported(found) < path]
    if smaller:
        end = _behind_comments(source, smaller[-1])
        return Edit(end, end, source.newline(end) + line)
    if proto.imports:
        at = source.line_start(proto.imports[0].start)
        return Edit(at, at, line + source.newline(at))
    head = [found for found in proto.statements if found.keyword in {"syntax", "edition", "package"}]
    if head:
        end = _behind_comments(source, head[-1])
        newline = source.newline(end)
        return Edit(end, end, newline + newline + line)
    return Edit(0, 0, line + source.newline(0) * 2)


def _imported(found: Statement) -> str:
    return found.tokens[-2].text.strip("\"'")


def _ends_its_line(source: SourceText, statement: Statement) -> bool:
    rest = rest_of_line(source, statement.end).removeprefix(";").lstrip()
    return _ONE_COMMENT.fullmatch(rest) is not None


def _behind_comments(source: SourceText, statement: Statement) -> int:
    """Behind its trailing comments: those directly below it that a blank line or a closing bracket follows."""
    own = source.line_end(statement.end)
    end = end_of_comments(source, statement.end, 0)
    following = source.text[source.next_line(end) : source.line_end(source.next_line(end))].strip()
    return end if not following or following.startswith("}") else own
