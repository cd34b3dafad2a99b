"""What is put into a proto stands beside its neighbours, as `buf format` lays it out; every other byte stays."""

import subprocess
from pathlib import Path

import pytest

from sagagen.contract.buf import buf_command
from sagagen.editing.proto_insert import Http, NewRpc, with_rpc, with_service
from sagagen.editing.proto_outline import ProtoOutline, rpcs
from sagagen.editing.text import CannotAdd
from sagagen.workspace.source_text import SourceText

PLAIN = NewRpc("Two", is_read=False, http=None)
ROUTED = NewRpc("Two", is_read=False, http=Http("post", "/two"))
READ = NewRpc("Two", is_read=True, http=Http("get", "/two/{id}"))


def outline(text: str) -> ProtoOutline:
    return ProtoOutline.read(SourceText.read_utf8(text.encode()), "contracts/a/v1/a.proto")


def with_two(text: str, rpc: NewRpc = PLAIN, fields: tuple[str, ...] = ()) -> str:
    proto = outline(text)
    return with_rpc(proto, proto.services[0], rpc, fields).text


def parts(text: str, after: str) -> list[str]:
    """What was put in, piece by piece; all of `text` must be left."""
    pieces: list[str] = []
    rest = after
    for line in text.splitlines(keepends=True):
        before, found, rest = rest.partition(line)
        assert found, f"{line!r} is gone from {after!r}"
        pieces += [before] if before else []
    return [*pieces, rest] if rest else pieces


HEAD = 'syntax = "proto3";\n\npackage a.v1;\n\n'
ONE = "message OneRequest {}\n\nmessage OneResponse {}\n"

CASES = {
    "an empty service": (HEAD + "service AService {}\n", PLAIN),
    "an empty service over two lines": (HEAD + "service AService {\n}\n", PLAIN),
    "a service with a comment alone": (HEAD + "service AService {\n  // Nothing yet.\n}\n", PLAIN),
    "a service with an option alone": (HEAD + "service AService {\n  option deprecated = true;\n}\n", READ),
    "an rpc with a comment behind it": (
        HEAD
        + "service AService {\n  rpc One(OneRequest) returns (OneResponse); // one\n  // and more of it\n}\n\n"
        + ONE,
        PLAIN,
    ),
    "rpcs close together": (
        HEAD
        + "service AService {\n  rpc One(OneRequest) returns (OneResponse);\n  rpc Six(SixRequest) returns (SixResponse);\n}\n\n"
        + ONE
        + "\nmessage SixRequest {}\n\nmessage SixResponse {}\n\n// Something else.\nmessage Other {}\n",
        PLAIN,
    ),
    "an rpc with options": (
        HEAD
        + 'import "google/api/annotations.proto";\n\nservice AService {\n  rpc One(OneRequest) returns (OneResponse) {\n'
        + '    option (google.api.http) = {get: "/{one}"};\n    option idempotency_level = NO_SIDE_EFFECTS;\n  }\n}\n\n'
        + ONE,
        READ,
    ),
    "imports before and after": (
        HEAD + 'import "buf/validate/validate.proto";\nimport "google/protobuf/empty.proto"; // nothing\n\n'
        "service AService {\n  rpc One(OneRequest) returns (google.protobuf.Empty);\n}\n\nmessage OneRequest {}\n",
        ROUTED,
    ),
    "imports that all come later": (
        HEAD
        + 'import "google/protobuf/empty.proto";\n\nservice AService {}\n\nmessage One {\n  google.protobuf.Empty e = 1;\n}\n',
        ROUTED,
    ),
    "brackets in comments and texts": (
        HEAD
        + "/* } */\n\n// service AService {\nservice AService {\n  // }\n  rpc One(OneRequest) returns (OneResponse) {\n"
        '    option (x) = "}";\n    // {\n  }\n}\n\n'
        + ONE
        + "\nextend google.protobuf.MethodOptions {\n  string x = 50001;\n}\n",
        PLAIN,
    ),
    "messages with bodies": (
        HEAD + "service AService {\n  rpc One(OneRequest) returns (OneResponse);\n}\n\nmessage OneRequest {\n"
        '  message Two {\n    int32 a = 1 [json_name = "{"];\n  }\n  oneof x {\n    string y = 2;\n  }\n'
        "  map<string, Two> z = 3;\n  reserved 4 to 6;\n} // end\n\nmessage OneResponse {}\n",
        ROUTED,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_rpc_and_its_messages_are_added_and_nothing_else_changes(name: str) -> None:
    text, rpc = CASES[name]
    after = with_two(text, rpc, ("id",))
    if "{}\n" not in text[: text.find("message")] and "service AService {}" not in text:
        parts(text, after)
    service = outline(after).services[0]
    assert [found.name for found in rpcs(service)][-1] == "Two"
    assert outline(after).named("TwoRequest") is not None
    assert outline(after).named("TwoResponse") is not None
    assert after.count("google/api/annotations.proto") == (1 if rpc.http else 0)


def test_the_layout_stays_that_of_buf_format(tmp_path: Path) -> None:
    folders = {"before": tmp_path / "before", "after": tmp_path / "after"}
    for number, (text, rpc) in enumerate(CASES.values()):
        for name, content in (("before", text), ("after", with_two(text, rpc, ("id",)))):
            folders[name].mkdir(exist_ok=True)
            (folders[name] / f"case_{number}.proto").write_text(content)
    (folders["after"] / "service.proto").write_text(
        with_service(outline(CASES["messages with bodies"][0]), "BService").text
    )
    assert _untidy(folders["after"]) <= _untidy(folders["before"]) == {"case_1.proto"}


def _untidy(folder: Path) -> set[str]:
    done = subprocess.run(
        [buf_command(), "format", "--diff", "."], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {line.split()[1] for line in done.stdout.splitlines() if line.startswith("+++ ")}


def test_neighbours_decide_where_messages_stand() -> None:
    text, _ = CASES["rpcs close together"]
    after = with_two(text)
    assert (
        "message SixResponse {}\n\nmessage TwoRequest {}\n\nmessage TwoResponse {}\n\n// Something else."
        in after
    )
    assert (
        "  rpc Six(SixRequest) returns (SixResponse);\n  rpc Two(TwoRequest) returns (TwoResponse);\n}"
        in after
    )


def test_a_comment_that_trails_an_rpc_stays_with_it() -> None:
    text, _ = CASES["an rpc with a comment behind it"]
    assert "  // and more of it\n\n  rpc Two(" in with_two(text)


def test_line_ends_are_those_of_the_file() -> None:
    after = with_two(CASES["an rpc with options"][0].replace("\n", "\r\n"), READ, ("id",))
    assert after.count("\r\n") == after.count("\n")


def test_odd_indentation_is_kept() -> None:
    text = HEAD + "  service AService\n  {\n\t    rpc One(OneRequest) returns (OneResponse);\n  }\n" + ONE
    after = with_two(text)
    assert "\n\t    rpc Two(TwoRequest) returns (TwoResponse);\n  }" in after
    parts(text, after)


def test_a_service_on_one_line_stays_on_one_line() -> None:
    text = HEAD + "service AService { rpc One(OneRequest) returns (OneResponse) {} ; }\n" + ONE
    after = with_two(text, READ)
    assert "{} rpc Two(TwoRequest) returns (TwoResponse) { option idempotency_level" in after
    assert [found.name for found in rpcs(outline(after).services[0])] == ["One", "Two"]


def test_messages_that_are_there_are_taken() -> None:
    text = HEAD + "service AService {}\n\nmessage TwoRequest {\n  string a = 1;\n}\n"
    after = with_two(text)
    assert after.count("TwoRequest {") == 1
    assert after.endswith("message TwoRequest {\n  string a = 1;\n}\n\nmessage TwoResponse {}\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("message A {\n\n", 1),
        ("\nservice A { rpc B(C returns (D); }", 2),
        ("a\n}\n", 2),
        ("x", 1),
        ("service A {\n  rpc B(C) returns (D)\n}", 2),
    ],
)
def test_brackets_that_do_not_close_are_named_with_their_line(text: str, line: int) -> None:
    with pytest.raises(CannotAdd, match=f"a.proto:{line}: this is not closed"):
        outline(text)
