"""Mistakes planted into protos. Those that do not disturb each other share one project, so that buf runs once."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from contract_bench import SAGA_YAML, brief, edited, place, places, shop_files, write_project

from sagagen.contract import Sources, load, read_contract, resolve
from sagagen.diagnostics import Diagnostic, Severity
from sagagen.source import Span

LAB = "contracts/lab/v1/lab.proto"
HEADER = """syntax = "proto3";

package lab.v1;

import "google/api/annotations.proto";

message Thing {
  message Inner {
    string name = 1;
  }
  string thing_id = 1;
  int32 size = 2;
  repeated string tags = 3;
  Inner inner = 4;
  map<string, string> labels = 5;
}

service LabService {
"""


@dataclass(frozen=True)
class Rpc:
    """An rpc with one mistake, at the mark."""

    mistake: str
    text: str
    code: str
    message: str
    hint: str

    def __str__(self) -> str:
        return self.mistake


def route(name: str, rule: str, *, is_read: bool = False) -> str:
    level = "    option idempotency_level = NO_SIDE_EFFECTS;\n" if is_read else ""
    return (
        f"  rpc {name}(Thing) returns (Thing) {{\n"
        f"{level}    option (google.api.http) = {{\n      {rule}\n    }};\n  }}\n"
    )


RPCS = (
    Rpc(
        "a template that is none",
        route("A", '«get: "/a/{thing_id"', is_read=True),
        "SG040",
        "is not a path template: '{' is not closed (at character 4)",
        "write a path like /orders/{order_id}",
    ),
    Rpc(
        "an unknown path variable",
        route("B", '«get: "/b/{thing_di}"', is_read=True),
        "SG041",
        'the path variable "thing_di" is not a field of Thing',
        'did you mean "thing_id" (contracts/lab/v1/lab.proto:11:10)?',
    ),
    Rpc(
        "an unknown nested path variable",
        route("C", '«get: "/c/{inner.nam}"', is_read=True),
        "SG041",
        '"inner.nam" is not a field of Thing',
        'did you mean "name"',
    ),
    Rpc(
        "a path variable below a text",
        route("D", '«get: "/d/{thing_id.name}"', is_read=True),
        "SG041",
        '"thing_id.name" is not a field',
        "name a field of the request",
    ),
    Rpc(
        "a repeated path variable",
        route("E", '«get: "/e/{tags}"', is_read=True),
        "SG042",
        '"tags" cannot be written as a single text',
        "single scalars",
    ),
    Rpc(
        "a message as a path variable",
        route("F", '«get: "/f/{inner}"', is_read=True),
        "SG042",
        '"inner" cannot be written as a single text',
        "single scalars",
    ),
    Rpc(
        "an unknown body",
        route("G", 'post: "/g"\n      «body: "inne"'),
        "SG043",
        'body names "inne", which is not a field of Thing',
        'did you mean "inner"',
    ),
    Rpc(
        "an unknown response_body",
        route("H", 'post: "/h"\n      body: "*"\n      «response_body: "sise"'),
        "SG044",
        'response_body names "sise"',
        'did you mean "size"',
    ),
    Rpc(
        "a GET on a write",
        route("I", '«get: "/i"'),
        "SG045",
        '"I" is a write',
        "idempotency_level = NO_SIDE_EFFECTS",
    ),
    Rpc(
        "a path of the gateway",
        route("J", '«get: "/sagas/{thing_id}"', is_read=True),
        "SG046",
        "/sagas is reserved",
        "begin the path with anything but",
    ),
    Rpc(
        "the gateway's health",
        route("K", '«get: "/healthz"', is_read=True),
        "SG046",
        "/healthz is reserved",
        "begin the path with anything but",
    ),
    Rpc(
        "two routes that look alike",
        route("L", 'post: "/l/{thing_id}/x"') + route("M", '«post: "/l/{inner.name}/x"'),
        "SG047",
        f'matches the same requests as "POST /l/{{thing_id}}/x" ({LAB}:',
        "change one of the two paths or verbs",
    ),
    Rpc(
        "a route that collides in an additional binding",
        route("N", 'post: "/n"\n      body: "*"\n      «additional_bindings {\n        post: "/n"\n      }'),
        "SG047",
        'matches the same requests as "POST /n"',
        "change one of the two",
    ),
    Rpc(
        "a body of a GET",
        route("O", 'get: "/o"\n      «body: "*"', is_read=True),
        "SG048",
        '"GET /o" names a body, which a GET request has not',
        "fields that are not in the path are read from the query",
    ),
    Rpc(
        "a custom verb",
        route("P", 'custom {\n        kind: "HEAD"\n        path: "/p"\n      }').replace(
            "(google", "«(google"
        ),
        "SG049",
        '"P" has a custom verb',
        "use get, put, post, delete or patch",
    ),
    Rpc(
        "a rule without a path",
        '  rpc Q(Thing) returns (Thing) {\n    option «(google.api.http) = {body: "*"};\n  }\n',
        "SG049",
        '"Q" has a rule without a verb and path',
        "use get, put, post, delete or patch",
    ),
    Rpc(
        "a streaming rpc",
        "  rpc «R(stream Thing) returns (Thing);\n",
        "SG024",
        '"R" is a streaming rpc; the mesh serves only unary rpcs',
        "make it unary",
    ),
    Rpc(
        "a path without its slash",
        route("S", '«post: "s/open"'),
        "SG040",
        "is not a path template",
        "write a path like /orders/{order_id}",
    ),
    Rpc(
        "a variable twice",
        route("T", '«post: "/t/{thing_id}/{thing_id}"'),
        "SG040",
        "thing_id",
        "write a path like",
    ),
    Rpc(
        "a rest that is not the end",
        route("U", '«post: "/u/**/x"'),
        "SG040",
        "is not a path template",
        "write a path like",
    ),
    Rpc(
        "a map as a path variable",
        route("V", '«post: "/v/{labels}"'),
        "SG042",
        '"labels" cannot be written as a single text',
        "single scalars",
    ),
    Rpc(
        "a body of a DELETE",
        route("W", 'delete: "/w"\n      «body: "*"'),
        "SG048",
        '"DELETE /w" names a body, which a DELETE request has not',
        "fields that are not in the path are read from the query",
    ),
    Rpc(
        "the gateway's metrics",
        route("X", '«post: "/metrics"'),
        "SG046",
        "/metrics is reserved",
        "begin the path with anything but",
    ),
    Rpc(
        "the gateway's own document",
        route("Y", '«get: "/openapi.json"', is_read=True),
        "SG046",
        "/openapi.json is reserved",
        "begin the path with anything but",
    ),
    Rpc(
        "the gateway's page of docs",
        route("Pages", '«get: "/docs"', is_read=True),
        "SG046",
        "/docs is reserved",
        "begin the path with anything but",
    ),
    Rpc(
        "a GET on a write in an additional binding",
        route("Z", 'post: "/z"\n      «additional_bindings {\n        get: "/z"\n      }'),
        "SG045",
        '"Z" is a write',
        "idempotency_level = NO_SIDE_EFFECTS",
    ),
    Rpc(
        "an unknown body in an additional binding",
        route(
            "Za",
            'post: "/za"\n      «additional_bindings {\n        put: "/za"\n        body: "inne"\n      }',
        ),
        "SG043",
        'body names "inne"',
        'did you mean "inner"',
    ),
    Rpc(
        "additional bindings of additional bindings",
        route(
            "Zb",
            'post: "/zb"\n      «additional_bindings {\n        put: "/zb"\n'
            '        additional_bindings {\n          patch: "/zb"\n        }\n      }',
        ),
        "SG049",
        "has additional bindings of its own",
        "put all of them in the outer rule",
    ),
    Rpc(
        "a stream with a route",
        '  rpc «Zd(Thing) returns (stream Thing) {\n    option (google.api.http) = {post: "/zd"};\n  }\n',
        "SG024",
        "it stays unimplemented, and its HTTP route is left out",
        "make it unary",
    ),
    Rpc(
        "an rpc that streams its answers",
        "  rpc «Zc(Thing) returns (stream Thing);\n",
        "SG024",
        '"Zc" is a streaming rpc; the mesh serves only unary rpcs',
        "make it unary",
    ),
)

TRIGGERS = """}

service TriggerService {
  rpc First(Thing) returns (Thing) {
    option (google.api.http) = {post: "/first"};
  }
  rpc Unrouted(Thing) returns (Thing);
  rpc Streams(Thing) returns (stream Thing);
  rpc Reads(Thing) returns (Thing) {
    option idempotency_level = NO_SIDE_EFFECTS;
  }
}

service TwinService {
  rpc A(Thing) returns (Thing);
}
"""
LOOSE_ENDS = """  rpc A(Thing) returns (Thing);
}

service TriggerService {
  rpc Start(Thing) returns (Thing);
  rpc Lost(Thing) returns (Thing) {
    option (google.api.http) = {«post: "/lost"};
  }
}
"""
LAB_PROTO = HEADER + "".join(rpc.text for rpc in RPCS) + TRIGGERS
LAB_YAML = """version: v1
project: lab
services:
  lab: { implements: [lab.v1.LabService] }
  twin: { implements: [lab.v1.TwinService] }
sagas:
  first:
    trigger: lab.v1.TriggerService/First
    steps:
      - { name: one, call: twin/A, compensate: none }
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    root = write_project(tmp_path_factory.mktemp("lab"), {LAB: LAB_PROTO, SAGA_YAML: LAB_YAML})
    sources, found = load(root)
    assert all(finding.severity is Severity.WARNING for finding in found)
    return sources


def with_yaml(lab: Sources, text: str) -> list[Diagnostic]:
    """What saga.yaml is wrong in; the rpcs' own mistakes left out."""
    sources = Sources(text.replace("«", ""), {}, lab.image, lab.paths, lab.is_partial)
    return [finding for finding in resolve(sources)[1] if finding.at.path == SAGA_YAML]


def test_the_lab_is_wrong_in_nothing_but_what_was_planted(lab: Sources) -> None:
    _, found = resolve(lab)
    expected = zip(places(LAB_PROTO, LAB), RPCS, strict=True)
    assert brief(found) == [(at, rpc.code) for at, rpc in expected]


@pytest.mark.parametrize("index", range(len(RPCS)), ids=[str(rpc) for rpc in RPCS])
def test_a_mistake_in_an_rpc_is_explained(lab: Sources, index: int) -> None:
    at = places(LAB_PROTO, LAB)[index]
    found = next(finding for finding in resolve(lab)[1] if finding.at == at)
    assert RPCS[index].message in found.message
    assert RPCS[index].hint in found.hint


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("call: twin/A", "call: «lab/R", "SG066", "a step is one request and one response"),
        (
            "lab.v1.TriggerService/First",
            "«lab.v1.TriggerService/Streams",
            "SG033",
            "a saga starts with one request",
        ),
        ("lab.v1.TriggerService/First", "«lab.v1.TriggerService/Reads", "SG034", "is a read"),
    ],
)
def test_rpcs_that_cannot_take_the_part_they_are_given(
    lab: Sources, old: str, new: str, code: str, message: str
) -> None:
    text = edited(LAB_YAML, ((old, new),))
    found = with_yaml(lab, text)
    assert brief(tuple(found)) == [(place(text), code)]
    assert message in found[0].message


def test_two_sagas_cannot_share_a_trigger(lab: Sources) -> None:
    second = """  second:
    trigger: «lab.v1.TriggerService/First
    steps:
      - { name: one, call: twin/A, compensate: none }
"""
    found = with_yaml(lab, LAB_YAML + second)
    assert brief(tuple(found)) == [(place(LAB_YAML + second), "SG032")]
    assert 'already triggers the saga "first" (line 8)' in found[0].message


def test_one_service_cannot_have_two_handlers_of_one_name(lab: Sources) -> None:
    text = LAB_YAML.replace("[lab.v1.LabService]", "[lab.v1.LabService, «lab.v1.TwinService]")
    text = text.replace("  twin: { implements: [lab.v1.TwinService] }\n", "").replace("twin/A", "lab/A")
    found = with_yaml(lab, text)
    assert brief(tuple(found)) == [(place(text), "SG025")]
    assert 'two handler methods "a"' in found[0].message


def test_a_saga_that_nothing_can_start_and_a_route_that_nothing_answers_are_warnings(tmp_path: Path) -> None:
    proto = HEADER + LOOSE_ENDS
    text = """version: v1
project: lab
services: { lab: { implements: [lab.v1.LabService] } }
sagas:
  one:
    trigger: «lab.v1.TriggerService/Start
    steps: [{ name: one, call: lab/A, compensate: none }]
"""
    sources, _ = load(write_project(tmp_path, {LAB: proto, SAGA_YAML: text}))
    mesh, found = resolve(sources)
    assert brief(found) == [(place(proto, LAB), "SG050"), (place(text), "SG035")]
    assert {finding.severity for finding in found} == {Severity.WARNING}
    assert mesh is not None


def test_a_read_can_be_said_in_saga_yaml_as_well(lab: Sources) -> None:
    mark = ", methods: { I: { read: true }, Z: { read: true } }"
    text = edited(LAB_YAML, (("[lab.v1.LabService]", f"[lab.v1.LabService]{mark}"),))
    lines = {at.line for at in places(LAB_PROTO, LAB)} - {
        f.at.line for f in resolve(replace(lab, saga_yaml=text))[1]
    }
    gone = [rpc.code for at, rpc in zip(places(LAB_PROTO, LAB), RPCS, strict=True) if at.line in lines]
    assert gone == ["SG045", "SG045"]


def test_a_read_of_the_proto_can_be_taken_back(lab: Sources) -> None:
    text = edited(
        LAB_YAML, (("[lab.v1.LabService]", "[lab.v1.LabService], methods: { A: { read: false } }"),)
    )
    added = {*brief(resolve(replace(lab, saga_yaml=text))[1])} - {*brief(resolve(lab)[1])}
    assert [code for _, code in added] == ["SG045"]


def test_whatever_is_wrong_with_routes_that_nothing_implements_is_one_warning(lab: Sources) -> None:
    """A vendor's protos can't be edited, and what is not served needs no cure."""
    text = edited(LAB_YAML, (("  lab: { implements: [lab.v1.LabService] }\n", ""),))
    mesh, found = resolve(replace(lab, saga_yaml=text))
    assert mesh is not None
    assert [(finding.code, finding.severity) for finding in found] == [("SG050", Severity.WARNING)]
    routed = sum(rpc.text.count("  rpc ") for rpc in RPCS if "google.api.http" in rpc.text)
    assert f'"A", "B", "C" and {routed - 3} more in "lab.v1.LabService"' in found[0].message
    assert [route.method.containing_service.name for route in mesh.routes] == ["TriggerService"]


def test_compile_errors_of_all_protos_are_reported_beside_what_is_wrong_in_saga_yaml(tmp_path: Path) -> None:
    files = shop_files(
        order=(
            (
                "  string order_id = 1;\n  string customer_id = 2;\n  Status",
                "  string order_id = 1;\n  «strin customer_id = 2;\n  Status",
            ),
        ),
        inventory=(('import "google/api/annotations.proto";', '«import "google/api/annotation.proto";'),),
        saga=(("call: payment/ChargePayment", "call: payment/«ChargePaymnt"),),
    )
    mesh, found = read_contract(write_project(tmp_path, files))
    inventory, order = "contracts/shop/inventory/v1/inventory.proto", "contracts/shop/order/v1/order.proto"
    assert mesh is None
    assert brief(found) == [
        (place(files[SAGA_YAML]), "SG065"),
        (place(files[inventory], inventory), "SG001"),
        (place(files[order], order), "SG001"),
    ]
    assert "cannot find `strin`" in found[2].message
    assert "check the spelling" in found[2].hint
    assert found[1].hint == 'did you mean "google/api/annotations.proto"?'


def test_a_broken_proto_does_not_hide_a_wrong_call_of_a_healthy_one(tmp_path: Path) -> None:
    files = shop_files(
        inventory=(("message StockLine {", "message StockLine «}"),),
        saga=(("name: charge_payment", "name: «Charge_payment"),),
    )
    _, found = read_contract(write_project(tmp_path, files))
    inventory = "contracts/shop/inventory/v1/inventory.proto"
    assert (place(files[SAGA_YAML]), "SG017") in brief(found)
    assert {finding.at.path for finding in found if finding.code == "SG001"} == {inventory}
    assert {finding.code for finding in found} == {"SG001", "SG017"}


def test_lint_findings_are_warnings_that_name_the_rule(tmp_path: Path) -> None:
    files = shop_files(
        order=(("  int64 total_minor = 5;", "  int64 «totalMinor = 5;"),),
        saga=(("total_minor", "totalMinor"),),
    )
    mesh, found = read_contract(write_project(tmp_path, files))
    order = "contracts/shop/order/v1/order.proto"
    assert brief(found) == [(place(files[order], order), "SG002")]
    assert found[0].severity is Severity.WARNING
    assert "buf lint FIELD_LOWER_SNAKE_CASE" in found[0].message
    assert "// buf:lint:ignore FIELD_LOWER_SNAKE_CASE" in found[0].hint
    assert mesh is not None


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    root = write_project(tmp_path, shop_files())
    (root / SAGA_YAML).write_bytes(b"version: v1\nproject: sh\xf6p\n")
    _, found = read_contract(root)
    assert brief(found) == [(Span(SAGA_YAML, 2, 12), "SG004")]
    assert "invalid start byte" in found[0].message


def test_a_contract_without_protos_says_so(tmp_path: Path) -> None:
    _, found = read_contract(write_project(tmp_path, {SAGA_YAML: LAB_YAML}))
    assert [finding.code for finding in found] == ["SG003"]
    assert "there are no .proto files" in found[0].message


def test_a_folder_without_saga_yaml_says_so(tmp_path: Path) -> None:
    files = {name: text for name, text in shop_files().items() if name.endswith(".proto")}
    _, found = read_contract(write_project(tmp_path, files))
    assert [(finding.code, finding.message) for finding in found] == [
        ("SG003", f"{SAGA_YAML} does not exist")
    ]
