"""A contract of which some protos changed reads as if all of it had been compiled, and buf compiles only those."""

import hashlib
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from contract_bench import write_project
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from thorough import FUZZ_ROUNDS

from sagagen.contract import Sources, buf, load, read_contract, read_loaded
from sagagen.contract.built import Built
from sagagen.contract.codes import Code
from sagagen.contract.loading import loading
from sagagen.diagnostics import Diagnostic
from sagagen.source import Span

YAML = "version: v1\nproject: lab\nservices: {}\nsagas: {}\n"
FILES = ("a/v1/a.proto", "a/v1/b.proto", "a-b/v1/a.proto", "a_b/v1/A.proto", "b/v1/b.proto", "z/a/v1/z.proto")
"""In an order that depends on how names are compared."""
Found = tuple[Sources, tuple[Diagnostic, ...]]


def text(name: str, fields: int = 1, imports: tuple[str, ...] = ()) -> str:
    lines = [f'import "{each}";' for each in imports]
    members = [f"  string f{n} = {n + 1};" for n in range(fields)]
    begin = ['syntax = "proto3";', f"package {package_of(name)};"]
    return "\n".join([*begin, *lines, f"message {message_of(name)} {{", *members, "}", ""])


def package_of(name: str) -> str:
    return name.rpartition("/")[0].replace("/", ".").replace("-", "_dash_")


def message_of(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".proto").upper()


def digests(root: Path) -> dict[str, str]:
    paths = sorted((root / "contracts").rglob("*.proto"))
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def read(root: Path, before: Built | None = None) -> tuple[Found, Built | None]:
    now = digests(root)
    with loading(root, before, now) as started:
        sources, found = started.result()
        found = (*found, *started.remarks())
        return (sources, found), started.built(now)


def built(root: Path) -> Built:
    _, result = read(root)
    assert result is not None
    return result


def write(root: Path, files: Mapping[str, str]) -> None:
    write_project(root, {f"contracts/{name}": text for name, text in files.items()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`b` and `z` import what others declare; all six are worth a warning of the linter."""
    write(tmp_path, {name: text(name) for name in FILES} | {"saga.yaml": YAML})
    imports = {"b/v1/b.proto": ("a/v1/a.proto",), "z/a/v1/z.proto": ("b/v1/b.proto",)}
    write(tmp_path, {name: text(name, 1, imported) for name, imported in imports.items()})
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What buf is told to do."""
    seen: list[tuple[str, ...]] = []
    genuine = buf.Workspace.run

    def watched(self: buf.Workspace, *arguments: str) -> buf.Work:
        seen.append(arguments)
        return genuine(self, *arguments)

    monkeypatch.setattr(buf.Workspace, "run", watched)
    return seen


def chosen(asked: list[tuple[str, ...]]) -> list[list[str]]:
    """The files of each build; none where it is everything."""
    builds = [arguments for arguments in asked if arguments[0] == "build"]
    return [
        [each.removeprefix("--path=contracts/") for each in build if each.startswith("--path")]
        for build in builds
    ]


def told(found: Found) -> tuple[Sources, list[tuple[Span, str]]]:
    """Without the words: where packages import one another in several circles, buf names any of them."""
    return found[0], sorted((each.at, each.code) for each in found[1])


@dataclass(frozen=True)
class Proto:
    fields: int
    imports: tuple[str, ...]
    asked: tuple[str, ...]
    """What its rpcs take, each of which the linter wants to be taken by one rpc only."""
    option: str
    """On which the files of a package should agree."""
    enum: str
    """Which no other file of the package may declare."""

    def text(self, name: str) -> str:
        rpcs = [f"  rpc R{n}({each}) returns ({self.asked[n - 1]});" for n, each in enumerate(self.asked)]
        imports = (*self.imports, "google/protobuf/empty.proto")
        more = [
            f'option java_package = "{self.option}";',
            *(["service S {", *rpcs, "}"] if name.startswith("a-b") else []),
            *(["service TService {", *rpcs, "}"] if not name.startswith("a") else []),
            f"enum {self.enum or name.rpartition('/')[2][:1]} {{ {self.enum}ZERO{name[0]} = 0; }}",
        ]
        return text(name, self.fields, imports) + "\n".join([*more, ""])


Version = dict[str, Proto]


@contextmanager
def project(files: Version) -> Generator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, {"saga.yaml": YAML})
        rewrite(root, files)
        yield root


def rewrite(root: Path, files: Version) -> None:
    for path in (root / "contracts").rglob("*.proto"):
        path.unlink()
    write(root, {name: file.text(name) for name, file in files.items()})


@st.composite
def versions(draw: st.DrawFn) -> Version:
    """Some of the files, which import any of those before them in an order that is drawn too."""
    names = draw(st.permutations(FILES))[: draw(st.integers(1, len(FILES)))]
    return {name: draw(protos(names[:n], name)) for n, name in enumerate(names)}


@st.composite
def protos(draw: st.DrawFn, others: Sequence[str], name: str) -> Proto:
    imports = draw(st.lists(st.sampled_from(others), unique=True)) if others else []
    messages = [f".{package_of(each)}.{message_of(each)}" for each in (name, *imports)]
    return Proto(
        fields=draw(st.integers(1, 2)),
        imports=tuple(imports),
        asked=tuple(
            draw(
                st.lists(
                    st.sampled_from([*messages, "google.protobuf.Empty"]), min_size=1, max_size=2, unique=True
                )
            )
        ),
        option=draw(st.sampled_from(["one", "other"])),
        enum=draw(st.sampled_from(["", "", "", "Shared"])),
    )


@settings(max_examples=10 * FUZZ_ROUNDS)
@given(versions(), versions(), st.data())
def test_any_change_reads_as_if_all_were_compiled(one: Version, other: Version, data: st.DataObject) -> None:
    with project(one) as root:
        before = read(root)[1]
        assume(before)
        rewrite(root, {**one, **other})
        assert told(read(root, before)[0]) == told(load(root))
        n = data.draw(st.integers(0, len(one) - 1))
        name = list(one)[n]
        rewrite(root, one | {name: data.draw(protos(list(one)[:n], name))})
        assert told(read(root, before)[0]) == told(load(root))


def proto(package: str, *lines: str) -> str:
    return "\n".join(['syntax = "proto3";', f"package {package};", *lines, ""])


EMPTY = 'import "google/protobuf/empty.proto";'
USES_EMPTY = (
    "service {}Service {{ rpc Get(GetRequest) returns (google.protobuf.Empty); }} message GetRequest {{}}"
)
ONE = USES_EMPTY.format("One")
TWO = USES_EMPTY.format("Two")
APART = {
    "a message that two rpcs return": (
        {"one/v1/one.proto": proto("one.v1", EMPTY, ONE), "two/v1/two.proto": proto("two.v1", EMPTY, TWO)},
        {"one/v1/one.proto": proto("one.v1", EMPTY, "message GetRequest {}")},
        "two/v1/two.proto",
    ),
    "an option of a package": (
        {
            "one/v1/one.proto": proto("one.v1", 'option java_package = "a";'),
            "one/v1/more.proto": proto("one.v1", 'option java_package = "b";'),
        },
        {"one/v1/one.proto": proto("one.v1", 'option java_package = "b";')},
        "one/v1/more.proto",
    ),
    "a package in two folders": (
        {"one/v1/one.proto": proto("one.v1"), "two/v1/two.proto": proto("one.v1")},
        {"one/v1/one.proto": proto("other.v1")},
        "two/v1/two.proto",
    ),
    "two packages in a folder": (
        {"one/v1/one.proto": proto("one.v1"), "one/v1/two.proto": proto("two.v1")},
        {"one/v1/two.proto": proto("three.v1")},
        "one/v1/one.proto",
    ),
    "packages that import one another": (
        {
            "one/v1/a.proto": proto("one.v1", 'import "two/v1/b.proto";'),
            "one/v1/b.proto": proto("one.v1"),
            "two/v1/a.proto": proto("two.v1", 'import "one/v1/b.proto";'),
            "two/v1/b.proto": proto("two.v1"),
        },
        {"one/v1/a.proto": proto("one.v1")},
        "two/v1/a.proto",
    ),
}


@pytest.mark.parametrize("is_undone", [False, True])
@pytest.mark.parametrize("case", APART)
def test_what_is_wrong_with_one_file_can_lie_in_another(case: str, is_undone: bool, tmp_path: Path) -> None:
    """The two do not import one another, and the change shows in the file that stayed."""
    wrong, change, elsewhere = APART[case]
    others = {f"other{n}/v1/other.proto": proto(f"other{n}.v1") for n in range(4)}
    first, second = ({**wrong, **change}, wrong) if is_undone else (wrong, change)
    write(tmp_path, {"saga.yaml": YAML, **others, **first})
    before = built(tmp_path)
    write(tmp_path, second)
    found = read(tmp_path, before)[0]
    assert found == load(tmp_path)

    def said(remarks: Iterable[Diagnostic]) -> set[str]:
        return {each.message for each in remarks if each.at.path == f"contracts/{elsewhere}"}

    assert said(found[1]) != said(before.remarks)


def test_only_what_changed_and_who_imports_it_is_compiled(root: Path, asked: list[tuple[str, ...]]) -> None:
    before = built(root)
    asked.clear()
    write(root, {"a/v1/a.proto": text("a/v1/a.proto", 2)})
    assert read(root, before)[0] == load(root)
    assert chosen(asked)[0] == ["a/v1/a.proto", "b/v1/b.proto", "z/a/v1/z.proto"]


def test_a_file_more_is_compiled_alone(root: Path, asked: list[tuple[str, ...]]) -> None:
    before = built(root)
    asked.clear()
    write(root, {"new/v1/new.proto": text("new/v1/new.proto", 2, ("b/v1/b.proto",))})
    assert read(root, before)[0] == load(root)
    assert chosen(asked)[0] == ["new/v1/new.proto"]


def test_without_a_change_buf_is_not_asked(root: Path, asked: list[tuple[str, ...]]) -> None:
    before = built(root)
    assert before.remarks
    asked.clear()
    again, nothing_new = read(root, before)
    assert (asked, nothing_new) == ([], None)
    assert again == load(root)


def test_what_was_read_with_the_rest_is_good_for_the_next_time(root: Path) -> None:
    before = built(root)
    for fields in (2, 3):
        write(root, {"a-b/v1/a.proto": text("a-b/v1/a.proto", fields)})
        found, result = read(root, before)
        assert result is not None
        assert found == load(root)
        before = result


@pytest.mark.parametrize(
    "broken",
    [
        {"a/v1/a.proto": text("a/v1/a.proto").replace("string", "strin")},
        {"b/v1/b.proto": text("b/v1/b.proto", 1, ("a/v1/nowhere.proto",))},
        {"a/v1/a.proto": text("a/v1/a.proto").replace("message A", "message C")},
    ],
)
def test_what_does_not_compile_is_said_as_always(root: Path, broken: Mapping[str, str]) -> None:
    before = built(root)
    write(root, broken)
    write(root, {"z/a/v1/z.proto": text("z/a/v1/z.proto", 1, ("a/v1/a.proto",)).replace("string", "a.v1.A")})
    found, result = read(root, before)
    assert found == load(root)
    assert (result is None) == any(each.severity == "error" for each in found[1])


def test_a_file_that_went_is_missed_by_who_imports_it(root: Path) -> None:
    before = built(root)
    (root / "contracts/a/v1/a.proto").unlink()
    found, result = read(root, before)
    assert found == load(root)
    assert result is None


def test_a_name_that_another_file_has_is_said_as_always(root: Path) -> None:
    """Neither imports the other, so each compiles without the other."""
    before = built(root)
    write(root, {"a/v1/b.proto": text("a/v1/a.proto")})
    with loading(root, before, digests(root)) as started:
        mesh, found = read_loaded(started)
    assert mesh is None
    assert found == read_contract(root)[1]
    assert [each.code for each in found if each.severity == "error"] == [Code.PROTO_COMPILE]
