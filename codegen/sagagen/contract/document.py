"""saga.yaml's text -> a tree of values that know their places. Reports whatever YAML allows and saga.yaml does not."""

import re
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from sagagen.contract import yaml_traps
from sagagen.contract.codes import Code
from sagagen.contract.composing import DEEPEST, compose_quickly
from sagagen.contract.findings import error
from sagagen.contract.scalar_places import Places, indices
from sagagen.diagnostics import Diagnostic, Report
from sagagen.expression import quoting
from sagagen.expression.problem import Problem
from sagagen.source import Entry, Mapping, Node, Scalar, Sequence, Span

YAML_TAG = "tag:yaml.org,2002:"
Tag = Literal["str", "int", "float", "bool", "null"]
TAGS: dict[str, Tag] = {
    f"{YAML_TAG}str": "str",
    f"{YAML_TAG}int": "int",
    f"{YAML_TAG}float": "float",
    f"{YAML_TAG}bool": "bool",
    f"{YAML_TAG}null": "null",
    f"{YAML_TAG}timestamp": "str",
}
"""YAML 1.2's core schema; a date is plain text here."""
MERGE_TAG = f"{YAML_TAG}merge"
PROPERTY = re.compile(r"\S+\s*")
MOST_REPEATED = 100_000
"""How many values aliases may repeat in total, counting every repetition: a few lines could mean billions."""
_HALF = re.compile("[\ud800-\udfff]")
"""Quoted YAML can escape a surrogate, but UTF-8 can't encode one."""
COLLECTION_TAGS = {f"{YAML_TAG}map", f"{YAML_TAG}seq"}


def read_document(path: str, text: str, report: Report) -> Mapping | None:
    """The file as a mapping; None if it is not one, which is then reported."""
    try:
        root = compose_quickly(text)
        node = _Reader(path, text, report).node(root) if root is not None else None
    except YAMLError as problem:
        report(_syntax_error(problem, path, text))
        return None
    except RecursionError:
        hint = "a saga needs only a few levels; look for brackets that are not closed"
        report(error(Span(path), Code.NOT_YAML, "the YAML can't be read: it is nested too deeply", hint))
        return None
    if isinstance(node, Mapping):
        return node
    at = node.span if node is not None else Span(path)
    hint = "begin with: version: v1"
    report(error(at, Code.WRONG_SHAPE, "saga.yaml must be a mapping of keys", hint))
    return None


def _syntax_error(failure: YAMLError, path: str, text: str) -> Diagnostic:
    at, problem = Span(path), str(failure).splitlines()[0]
    hint = "fix the YAML here; the rest of the file is checked after that"
    mark = cast(Any, failure).problem_mark if isinstance(failure, MarkedYAMLError) else None
    if mark is not None and (found := yaml_traps.broken(text, mark.index)) is not None:
        begin, expression = found
        trap = quoting.tag if expression.startswith("!") else quoting.unquoted
        return trap(expression).at(Places.of(path, text).at(begin))
    if mark is not None:
        at = Span(path, mark.line + 1, mark.column + 1)
        problem = ", ".join(
            str(part) for part in (cast(Any, failure).context, cast(Any, failure).problem) if part
        )
        if cast(Any, failure).context == "while scanning an alias":
            hint = 'put a text that begins with "*" in quotes; without them it is an alias of YAML'
    elif isinstance(failure, ReaderError):
        at = Places.of(path, text).at(cast(int, failure.position))
        problem = "a control character that YAML does not allow"
    return error(at, Code.NOT_YAML, f"not YAML: {problem}", hint)


def _begin(yaml: YamlNode) -> int:
    return cast(Any, yaml).start_mark.index


def _end(yaml: YamlNode) -> int:
    return cast(Any, yaml).end_mark.index


def _tag(yaml: YamlNode) -> str:
    return str(cast(Any, yaml).tag)


@dataclass(slots=True)
class _Reader:
    path: str
    text: str
    report: Report
    places: Places = field(init=False)
    read: dict[int, Node] = field(default_factory=dict[int, Node])
    """Finished nodes by identity: an alias is the same node again, at the place of its anchor."""
    open: list[int] = field(default_factory=list[int])
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    """The number of values in each finished node, including those that aliases repeat in it."""
    cut: range = range(0)
    """Where an expression stands of which YAML read only the beginning: the rest is no key and no item."""
    values: int = 0
    """The number so far, including repetitions by aliases."""
    repeated: int = 0

    def __post_init__(self) -> None:
        self.places = Places.of(self.path, self.text)

    def node(self, yaml: YamlNode, after: int = 0) -> Node | None:
        """None if it was refused, and is left out. `after` is the place of an empty value: YAML puts it elsewhere."""
        if id(yaml) in self.open:
            self._refuse(self._start(yaml), "an alias inside its own anchor", "write the value out")
            return None
        if len(self.open) == DEEPEST:
            self._refuse(
                self._start(yaml),
                f"a value nested more than {DEEPEST} levels deep",
                "close the brackets before it",
            )
            return None
        if id(yaml) in self.read:
            return self._again(yaml)
        before = self.values
        self.values += 1
        self.open.append(id(yaml))
        node = self.read[id(yaml)] = self._new_node(yaml, after)
        self.open.pop()
        self.sizes[id(yaml)] = self.values - before
        return node

    def _again(self, yaml: YamlNode) -> Node | None:
        """What an alias repeats, unless aliases repeat too much: code that walks the tree walks every repetition."""
        was_fine = self.repeated <= MOST_REPEATED
        self.repeated += self.sizes[id(yaml)]
        if self.repeated <= MOST_REPEATED:
            self.values += self.sizes[id(yaml)]
            return self.read[id(yaml)]
        if was_fine:
            what = f"more than {MOST_REPEATED:,} values repeated by aliases"
            self._refuse(self._start(yaml), what, "write the values out: aliases of aliases multiply")
        self.sizes[id(yaml)] = 0
        return None

    def _new_node(self, yaml: YamlNode, after: int) -> Node:
        if isinstance(yaml, ScalarNode):
            return self._scalar(yaml, _tag(yaml), after)
        if _tag(yaml) not in COLLECTION_TAGS:
            self._refuse(self._start(yaml), "a tag", "write the value without its tag")
        if isinstance(yaml, SequenceNode):
            items = cast(list[YamlNode], yaml.value)
            begin = _begin(yaml)
            nodes = (self.node(item, begin) for item in items if _begin(item) not in self.cut)
            return Sequence(self._start(yaml), tuple(node for node in nodes if node is not None))
        assert isinstance(yaml, MappingNode)
        pairs = cast(list[tuple[YamlNode, YamlNode]], yaml.value)
        return Mapping(self._start(yaml), tuple(self._entries(pairs)))

    def _entries(self, pairs: list[tuple[YamlNode, YamlNode]]) -> Iterator[Entry]:
        seen: dict[str, Span] = {}
        for yaml_key, yaml_value in pairs:
            key = self._key(yaml_key) if _begin(yaml_key) not in self.cut else None
            if key is None:
                continue
            value = self.node(yaml_value, _end(yaml_key))
            if key.text in seen:
                self._repeated(key, seen[key.text])
                continue
            seen[key.text] = key.span
            if value is not None:
                yield Entry(key, value)

    def _key(self, yaml: YamlNode) -> Scalar | None:
        if not isinstance(yaml, ScalarNode):
            self._refuse(self._start(yaml), "a key that is not plain text", "use a name as the key")
            return None
        tag = _tag(yaml)
        if tag == MERGE_TAG:
            self._refuse(
                self._start(yaml), "the merge key <<", "write the entries out, or set them under `defaults`"
            )
            return None
        return self._scalar(yaml, tag, None)

    def _repeated(self, key: Scalar, first: Span) -> None:
        message = f'the key "{key.text}" appears twice here; the first is in line {first.line}'
        hint = "remove or rename one of the two"
        self.report(error(key.span, Code.DUPLICATE_KEY, message, hint))

    def _scalar(self, yaml: ScalarNode, yaml_tag: str, after: int | None) -> Scalar:
        if yaml_tag not in TAGS and (negated := self._negation(yaml)) is not None:
            return negated
        start, end = self._content_start(yaml), _end(yaml)
        value, style = cast(str, yaml.value), cast(str | None, yaml.style)
        if after is not None and style is None and (whole := yaml_traps.cut(self.text, start, end, value)):
            return self._cut(start, whole)
        span = self.places.at(after if after is not None and start == end else start)
        tag: Tag = "str" if style is not None else TAGS.get(yaml_tag, "str")
        if not value.isascii() and _HALF.search(value):
            hint = 'write the character itself, or its code point as in "\\U0001F600"'
            self._refuse(span, "half a character (a surrogate)", hint)
            value = _HALF.sub("\N{REPLACEMENT CHARACTER}", value)  # this one can be printed

        known: SequenceOf[int] = ()

        def place(offset: int) -> Span:
            nonlocal known
            if start == end:
                return span
            known = known or indices(value, self.text[start:end], start, style)
            return self.places.at(known[offset])

        return Scalar(span, value, tag, style is not None, place)

    def _negation(self, yaml: ScalarNode) -> Scalar | None:
        """An expression whose `!` is a tag to YAML, as if it was in quotes: so its other mistakes are found, too."""
        at = yaml_traps.tag_start(self.text, _begin(yaml))
        if at is None:
            return None
        expression = yaml_traps.negated(self.text, at, _end(yaml) if cast(str, yaml.value) else at)
        if expression is None:
            return None
        return self._unquoted(at, expression, quoting.tag(expression))

    def _cut(self, at: int, expression: str) -> Scalar:
        """An expression that YAML ends at one of its commas, as if it was in quotes."""
        self.cut = range(at + 1, at + len(expression))
        return self._unquoted(at, expression, quoting.cut(expression))

    def _unquoted(self, at: int, expression: str, problem: Problem) -> Scalar:
        span = self.places.at(at)
        self.report(problem.at(span))
        return Scalar(span, expression, "str", True, lambda offset: self.places.at(at + offset))

    def _content_start(self, yaml: ScalarNode) -> int:
        """The place behind an `&anchor` in front of the scalar; refuses a `!tag` there."""
        start, end = _begin(yaml), _end(yaml)
        if _tag(yaml) not in TAGS and (hidden := yaml_traps.tag_before(self.text, start)) is not None:
            self._refuse(self.places.at(hidden), "a tag", "write the value without its tag")
        while start < end and self.text[start] in "!&":
            if self.text[start] == "!":
                self._refuse(self.places.at(start), "a tag", "write the value without its tag")
            word = PROPERTY.match(self.text, start, end)
            assert word is not None
            start = word.end()
        return start

    def _start(self, yaml: YamlNode) -> Span:
        return self.places.at(_begin(yaml))

    def _refuse(self, at: Span, what: str, hint: str) -> None:
        message = f"{what} is not allowed in saga.yaml"
        self.report(error(at, Code.YAML_FEATURE, message, hint))
