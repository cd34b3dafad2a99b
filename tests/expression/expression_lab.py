"""A contract with every kind of field, and expressions over it: compiled, rendered, and run on real messages."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import betterproto2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from proto_texts import compile_protos

from sagagen.contract.document import read_document
from sagagen.diagnostics import Diagnostic, Report
from sagagen.expression import (
    Environment,
    MessageExpr,
    RenderedFunction,
    TypeIndex,
    ValueExpr,
    compile_condition,
    compile_duration,
    compile_index,
    compile_key,
    compile_list,
    compile_message,
    compile_text,
    compile_time,
    render_function,
    render_value,
)
from sagagen.python_names import PB_PACKAGE, PyClass, PythonNames
from sagagen.runtime.scope import CompensationScope, Failure, Scope
from sagagen.source import Node

LAB = """
syntax = "proto3";
package lab.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "lab/old/v1/old.proto";
import "lab/other/v1/other.proto";

message Everything {
  enum Kind { KIND_UNSPECIFIED = 0; SMALL = 1; LARGE = 2; }
  string text = 1;
  optional string nick = 2;
  int32 small = 3;
  optional int32 maybe_small = 4;
  int64 big = 5;
  optional int64 maybe_big = 6;
  uint32 small_count = 7;
  uint64 count = 8;
  float single = 9;
  double real = 10;
  bool flag = 11;
  bytes raw = 12;
  Kind kind = 13;
  optional Kind maybe_kind = 14;
  repeated string words = 20;
  repeated int64 numbers = 21;
  repeated int32 small_numbers = 22;
  repeated double reals = 23;
  repeated Item items = 24;
  repeated Kind kinds = 25;
  map<string, int64> totals = 30;
  map<string, int32> small_totals = 31;
  map<int32, Item> numbered = 32;
  map<bool, string> answers = 33;
  Item item = 40;
  Everything inner = 41;
  oneof choice { string left = 42; Item right = 43; }
  google.protobuf.Timestamp when = 50;
  google.protobuf.Duration lasts = 51;
  repeated google.protobuf.Timestamp times = 52;
  google.protobuf.StringValue wrapped_text = 60;
  google.protobuf.Int64Value wrapped_big = 61;
  google.protobuf.BoolValue wrapped_flag = 62;
  google.protobuf.Int32Value wrapped_small = 63;
  repeated google.protobuf.StringValue wrapped_words = 64;
  google.protobuf.Any any = 70;
  google.protobuf.Struct struct = 71;
  repeated google.protobuf.Value values = 72;
  google.protobuf.Value value = 73;
  map<string, google.protobuf.Any> anys = 74;
  string from = 80;
  string class = 81;
  string import = 82;
  string in = 83;
  string true = 84;
  string for = 85;
  string parse = 86;
  lab.other.v1.Parcel parcel = 90;
  bool done = 91;
  lab.old.v1.Old old = 92;
  string secret = 93 [debug_redact = true];
}
message Item {
  message Tag { string name = 1; }
  string name = 1;
  int32 quantity = 2;
  double price = 3;
  repeated Tag tags = 4;
  optional string note = 5;
}
message Nothing {}
"""
OTHER = """
syntax = "proto3";
package lab.other.v1;
message Parcel {
  enum Size { SIZE_UNSPECIFIED = 0; BULKY = 1; }
  string code = 1;
  Size size = 2;
}
message Item { string code = 1; }
"""
OLD = """
syntax = "proto2";
package lab.old.v1;
message Old {
  enum Level { LOW = 1; HIGH = 2; }
  optional int32 attempts = 1 [default = 3];
  optional string note = 2 [default = "none"];
  optional Level level = 3;
  optional Level preset = 4 [default = HIGH];
  required bool active = 5;
  optional double rate = 6;
}
"""
SHOP = """
syntax = "proto3";
package shop.v1;
enum Size { SIZE_UNSPECIFIED = 0; SMALL = 1; LARGE = 2; }
message Order {
  string customer_id = 1;
  int64 total_minor = 2;
  optional string note = 3;
  repeated Dish dishes = 4;
  map<string, string> labels = 5;
  bool gift = 6;
  double rate = 7;
  Size size = 8;
}
message Dish {
  string dish_id = 1;
  int32 quantity = 2;
  int64 price_minor = 3;
}
message Fraud {
  double score = 1;
  int64 limit_minor = 2;
}
"""
"""What docs/expressions.md reads."""
PACKAGE = "expression_lab_messages"
PLACES: dict[str, Callable[[Node, Environment, Report], ValueExpr | None]] = {
    "when": compile_condition,
    "saga_id": compile_text,
    "in": compile_list,
    "key": compile_key,
    "after": compile_duration,
    "at": compile_time,
    "index": compile_index,
}
"""Keys of saga.yaml that take a single value, with the function that compiles it."""


@dataclass(frozen=True)
class Lab:
    """The compiled contract."""

    files: tuple[FileDescriptor, ...]
    names: PythonNames
    folder: Path
    environment: Environment
    """Of a step that may read `earlier`, `maybe` behind its `has`, and `each`, which is a loop."""

    def __repr__(self) -> str:
        return "the lab"  # hypothesis prints it with every failure

    def descriptor(self, name: str) -> Descriptor:
        outer, *inner = name.split(".")
        found = next(
            file.message_types_by_name[outer] for file in self.files if outer in file.message_types_by_name
        )
        for each in inner:
            found = found.nested_types_by_name[each]
        return found

    def compile(
        self, yaml: str, target: str = "Everything", **changes: Any
    ) -> tuple[MessageExpr | None, list[Diagnostic]]:
        """The YAML of a request, and what was reported."""
        found: list[Diagnostic] = []
        document = read_document("saga.yaml", f"request:\n{_indented(yaml)}", found.append)
        assert document is not None, found
        node = document.get("request")
        environment = replace(self.environment, **changes)
        return compile_message(node, self.descriptor(target), environment, found.append), found

    def compiled(self, yaml: str, target: str = "Everything", **changes: Any) -> MessageExpr:
        expr, found = self.compile(yaml, target, **changes)
        assert expr is not None, found
        return expr

    @property
    def input(self) -> Descriptor:
        assert self.environment.input is not None
        return self.environment.input

    def source(
        self,
        expr: MessageExpr | None,
        target: str = "Everything",
        *,
        in_compensation: bool = False,
        doc: str = "",
    ) -> "Source":
        return self._written(
            lambda refer: render_function(
                "build",
                expr,
                target=self.descriptor(target),
                input=self.input,
                in_compensation=in_compensation,
                names=self.names,
                doc=doc,
                refer=refer,
            )
        )

    def _written(self, render: Callable[[Callable[[PyClass], str]], RenderedFunction]) -> "Source":
        """A function with its imports, as a file has them."""
        classes: dict[str, PyClass] = {}

        def refer(py_class: PyClass) -> str:
            alias = py_class.name if ".other." not in py_class.module else f"Other{py_class.name}"
            classes[alias] = py_class
            return alias

        rendered = render(refer)
        imports = [f"from {wanted.module} import {wanted.name}" for wanted in sorted(rendered.imports)]
        imports += [
            f"from {located(py_class)} import {py_class.name} as {alias}"
            for alias, py_class in sorted(classes.items())
        ]
        return Source("\n".join(imports), "\n".join(rendered.lines))

    def value(self, place: str, yaml: str, **changes: Any) -> tuple[ValueExpr | None, list[Diagnostic]]:
        """The value of a key of saga.yaml, and what was reported."""
        found: list[Diagnostic] = []
        document = read_document("saga.yaml", f"{place}: {yaml}", found.append)
        assert document is not None, found
        node = document.get(place)
        assert node is not None, found
        return PLACES[place](node, replace(self.environment, **changes), found.append), found

    def compiled_value(self, place: str, yaml: str, **changes: Any) -> ValueExpr:
        expr, found = self.value(place, yaml, **changes)
        assert expr is not None, found
        return expr

    def value_source(self, expr: ValueExpr, *, event: str | None = None) -> "Source":
        return self._written(
            lambda refer: render_value(
                "compute",
                expr,
                scope="EventScope" if event else "Scope",
                input=self.input,
                event=self.descriptor(event) if event else None,
                names=self.names,
                doc="",
                refer=refer,
            )
        )

    def computed(self, place: str, yaml: str, scope: Any, event: str | None = None, **changes: Any) -> Any:
        """What the emitted function of a value returns for a scope."""
        if event:
            changes["event"] = self.descriptor(event)
        return self.function(self.compiled_value(place, yaml, **changes), event=event)(scope)

    def function(self, expr: ValueExpr, *, event: str | None = None) -> Callable[[Any], Any]:
        """The emitted function of a value."""
        namespace: dict[str, Any] = {}
        source = self.value_source(expr, event=event)
        exec(f"{source.imports}\n{source.function}", namespace)
        return namespace["compute"]

    def returned(self, yaml: str, target: str = "Everything", **changes: Any) -> str:
        """What the emitted function returns, as text."""
        lines = self.source(self.compiled(yaml, target, **changes), target).function.splitlines()
        return lines[-1].strip().removeprefix("return ")

    def python_class(self, name: str) -> Any:
        py_class = self.names.message(self.descriptor(name))
        return getattr(importlib.import_module(located(py_class)), py_class.name)

    def builder(self, yaml: str, **changes: Any) -> Callable[..., Any]:
        """The emitted function, taking the input, and the response of `earlier`."""
        source = self.source(self.compiled(yaml, **changes), in_compensation=bool(changes.get("failure")))
        namespace: dict[str, Any] = {}
        exec(f"{source.imports}\n{source.function}", namespace)
        everything = self.python_class("Everything")

        def build(
            input: betterproto2.Message | None = None, earlier: betterproto2.Message | None = None
        ) -> Any:
            given = bytes(input if input is not None else everything())
            responses = {"earlier": bytes(earlier if earlier is not None else everything())}
            failure = Failure("FAILED_PRECONDITION", "OUT_OF_STOCK", "none left", "later")
            if changes.get("failure"):
                scope = CompensationScope("saga-1", everything, given, responses, failure)
            else:
                scope = Scope("saga-1", everything, given, responses)
            return everything.parse(bytes(namespace["build"](scope)))

        return build


@dataclass(frozen=True)
class Source:
    imports: str
    function: str


def located(py_class: PyClass) -> str:
    return py_class.module.replace(PB_PACKAGE, PACKAGE, 1)


def build_lab(folder: Path) -> Lab:
    protos = {"lab/v1/lab.proto": LAB, "lab/other/v1/other.proto": OTHER, "lab/old/v1/old.proto": OLD}
    protos["shop/v1/shop.proto"] = SHOP
    compiled = compile_protos(folder, protos, package=PACKAGE)
    assert not compiled.diagnostics
    files = sorted(compiled.files, key=lambda file: [*protos].index(file.name))
    types = TypeIndex(files)
    everything = types.find("lab.v1.Everything")
    assert isinstance(everything, Descriptor)
    environment = Environment(
        types=types,
        package="lab.v1",
        input=everything,
        steps={"earlier": everything, "maybe": everything},
        unreadable={"later": "it runs later"},
        failure=False,
        total=False,
        loops={"each": everything},
        guarded={"maybe": "it is skipped unless input.flag"},
    )
    return Lab(tuple(files), compiled.names, folder, environment)


def _indented(yaml: str) -> str:
    return "\n".join(f"  {line}" for line in yaml.strip("\n").splitlines())
