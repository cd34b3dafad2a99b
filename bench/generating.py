"""Projects of any size, for measuring the generator: N services, N sagas of three steps, N proto packages."""

from pathlib import Path

PROTO = """\
syntax = "proto3";

package bench.{name}.v1;

import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";

// Keeps {name}: what is reserved, for whom and until when.
service {title}Service {{
  // Reserves.
  rpc Reserve(ReserveRequest) returns (ReserveResponse);
  // Gives back what was reserved.
  rpc Release(ReleaseRequest) returns (ReleaseResponse);
  // Makes a reservation final.
  rpc Confirm(ConfirmRequest) returns (ConfirmResponse);
  // What is reserved.
  rpc Get(GetRequest) returns (GetResponse) {{
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = {{get: "/{name}/{{reservation_id}}"}};
  }}
}}

// Where sagas begin.
service {title}FrontService {{
  rpc Start(StartRequest) returns (StartResponse) {{
    option (google.api.http) = {{
      post: "/{name}"
      body: "*"
    }};
  }}
}}

message StartRequest {{
  string customer_id = 1 [(buf.validate.field).string.min_len = 1];
  repeated Item items = 2;
}}

message StartResponse {{
  Reservation reservation = 1;
}}

// One line of a reservation.
message Item {{
  string product_id = 1;
  // How many.
  int32 quantity = 2 [(buf.validate.field).int32.gt = 0];
  optional string note = 3;
}}

message Reservation {{
  enum Status {{
    STATUS_UNSPECIFIED = 0;
    RESERVED = 1;
    CONFIRMED = 2;
    RELEASED = 3;
  }}
  string reservation_id = 1;
  Status status = 2;
  repeated Item items = 3;
  map<string, int64> totals = 4;
  google.protobuf.Timestamp create_time = 5;
}}

message ReserveRequest {{
  string reservation_id = 1;
  string customer_id = 2;
  repeated Item items = 3;
}}

message ReserveResponse {{
  Reservation reservation = 1;
}}

message ReleaseRequest {{
  string reservation_id = 1;
  optional string reason = 2;
}}

message ReleaseResponse {{}}

message ConfirmRequest {{
  string reservation_id = 1;
}}

message ConfirmResponse {{
  Reservation reservation = 1;
}}

message GetRequest {{
  string reservation_id = 1;
}}

message GetResponse {{
  Reservation reservation = 1;
}}
"""

SAGA = """\
  book_{name}:
    version: 1
    trigger: bench.{name}.v1.{title}FrontService/Start
    idempotency: {{ key: optional }}
    deadline: 60s
    respond: {{ after: reserve, status: 201, wait: 10s, body: {{ reservation: steps.reserve.reservation }} }}
    steps:
      - name: reserve
        call: {name}/Reserve
        request:
          reservation_id: saga.id
          customer_id: input.customer_id
          items: >-
            input.items.map(i, Item{{product_id: i.product_id, quantity: i.quantity}})
        compensate: {{ call: {name}/Release, request: {{ reservation_id: saga.id, reason: failure.reason }} }}
      - name: reserve_next
        call: {next}/Reserve
        request: {{ reservation_id: saga.id, customer_id: input.customer_id }}
        compensate: {{ call: {next}/Release, request: {{ reservation_id: saga.id }} }}
      - name: confirm
        call: {name}/Confirm
        kind: pivot
        request: {{ reservation_id: saga.id }}
"""


def write_project(root: Path, services: int) -> None:
    """A project below `root`, which must be empty."""
    names = [f"stock{n:03}" for n in range(services)]
    for name in names:
        proto_path(root, name).parent.mkdir(parents=True)
        proto_path(root, name).write_text(PROTO.format(name=name, title=name.title()), "utf-8")
    implemented = "".join(
        f"  {name}: {{ implements: [bench.{name}.v1.{name.title()}Service] }}\n" for name in names
    )
    sagas = "".join(
        SAGA.format(name=name, title=name.title(), next=names[(n + 1) % services])
        for n, name in enumerate(names)
    )
    text = f"version: v1\nproject: bench\nservices:\n{implemented}sagas:\n{sagas}"
    (root / "contracts" / "saga.yaml").write_text(text, "utf-8")


def proto_path(root: Path, name: str) -> Path:
    return root / "contracts" / "bench" / name / "v1" / f"{name}.proto"


def add_a_field(root: Path) -> None:
    """A line more in a message of the first package."""
    line = "  optional string note = 3;\n"
    _edit(proto_path(root, "stock000"), line, f"{line}  optional string remark = 4;\n")


def lengthen_a_deadline(root: Path) -> None:
    """Another line in the first saga."""
    _edit(root / "contracts" / "saga.yaml", "deadline: 60s", "deadline: 61s")


def _edit(path: Path, old: str, new: str) -> None:
    before = path.read_text("utf-8")
    if old not in before:
        raise ValueError(f"{path} has no {old!r} to change")
    path.write_text(before.replace(old, new, 1), "utf-8")
