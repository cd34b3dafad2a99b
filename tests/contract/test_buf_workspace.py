"""buf is run on what the project says, with the dependencies that everybody needs, and with nothing else of ours."""

from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from contract_bench import shop_files, write_project
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from sagagen.contract import buf, load, read_contract
from sagagen.contract.buf_layout import layout_of
from sagagen.contract.dependencies import VALIDATE, dependency_texts, validate_file

WANTED = ("google/api/annotations.proto", VALIDATE)
ORDER = "contracts/shop/order/v1/order.proto"


def project(tmp_path: Path, **more: str) -> Path:
    return write_project(
        tmp_path, shop_files() | {name.replace("__", "/") + ".yaml": text for name, text in more.items()}
    )


def test_rules_of_the_projects_own_buf_yaml_replace_ours(tmp_path: Path) -> None:
    root = project(tmp_path, buf="version: v2\nlint: { use: [ENUM_VALUE_PREFIX] }\n")
    mesh, found = read_contract(root)
    assert mesh is not None
    assert {(finding.code, finding.at.path) for finding in found} == {("SG002", ORDER)}


def test_a_buf_yaml_beside_the_protos_counts_too(tmp_path: Path) -> None:
    _, found = read_contract(
        project(tmp_path, contracts__buf="version: v2\nlint: { use: [ENUM_VALUE_PREFIX] }\n")
    )
    assert {finding.code for finding in found} == {"SG002"}


def test_a_buf_yaml_with_modules_of_its_own_is_used_as_it_is(tmp_path: Path) -> None:
    root = project(tmp_path, buf="version: v2\nmodules: [{ path: contracts }, { path: third_party }]\n")
    for name, text in dependency_texts(WANTED).items():
        write_project(root, {f"third_party/{name}": text})
    mesh, found = read_contract(root)
    assert mesh is not None
    assert {finding.code for finding in found} <= {"SG002"}


MONEY = """syntax = "proto3";
package shop.v1;
import 'google/api/field_behavior.proto';
import "google/longrunning/operations.proto"; import "google/type/money.proto";
import "vendor/price.proto";
// What it costs.
message Price {
  google.type.Money money = 1 [(google.api.field_behavior) = REQUIRED];
  google.longrunning.Operation operation = 2;
  vendor.Price price = 3;
}
"""
VENDOR = """syntax = "proto3"; package vendor; import "google/type/decimal.proto";
message Price { google.type.Decimal amount = 1; }
"""
HERE = "contracts/vendor/price.proto"
BESIDE = "third_party/vendor/price.proto"
GOOGLEAPIS = "deps: [buf.build/googleapis/googleapis, buf.build/bufbuild/protovalidate]\n"
LAYOUTS: dict[str, tuple[str, dict[str, str]]] = {
    "no buf.yaml": (HERE, {}),
    "v1 beside the protos": (HERE, {"contracts/buf.yaml": "version: v1\nlint: { use: [MINIMAL] }\n"}),
    "v1 with deps": (HERE, {"contracts/buf.yaml": f"version: v1\n{GOOGLEAPIS}lint: {{ use: [MINIMAL] }}\n"}),
    "v1 at the root": (HERE, {"buf.yaml": f"version: v1\n{GOOGLEAPIS}lint: {{ use: [MINIMAL] }}\n"}),
    "v1beta1": (HERE, {"contracts/buf.yaml": "version: v1beta1\nlint: { use: [MINIMAL] }\n"}),
    "a workspace of v1": (
        BESIDE,
        {
            "buf.work.yaml": "version: v1\ndirectories: [contracts, third_party]\n",
            "contracts/buf.yaml": f"version: v1\n{GOOGLEAPIS}lint: {{ use: [MINIMAL] }}\n",
            "third_party/buf.yaml": f"version: v1\n{GOOGLEAPIS}",
        },
    ),
    "v2 with deps": (HERE, {"buf.yaml": f"version: v2\n{GOOGLEAPIS}lint: {{ use: [MINIMAL] }}\n"}),
    "v2 with a lock": (
        HERE,
        {
            "buf.yaml": f"version: v2\n{GOOGLEAPIS}lint: {{ use: [MINIMAL] }}\n",
            "buf.lock": "version: v2\ndeps: [{ name: buf.build/googleapis/googleapis, commit: 0, digest: b5:0 }]\n",
        },
    ),
    "v2 with modules": (
        BESIDE,
        {
            "buf.yaml": f"version: v2\nmodules: [{{ path: contracts }}, {{ path: third_party }}]\n{GOOGLEAPIS}"
            "lint: { use: [MINIMAL], ignore: [contracts/shop] }\n"
        },
    ),
    "v2 beside the protos": (
        HERE,
        {
            "contracts/buf.yaml": f"version: v2\nmodules: [{{ path: . }}]\n{GOOGLEAPIS}"
            "lint: { use: [MINIMAL], ignore: [vendor] }\n"
        },
    ),
    "v2, the whole project": (
        HERE,
        {"buf.yaml": "version: v2\nmodules: [{ path: . }]\nlint: { use: [MINIMAL] }\n"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_built_in_protos_are_in_reach_whatever_the_buf_yaml_says(name: str, tmp_path: Path) -> None:
    """No registry is asked: where these tests run there may be none."""
    place, configs = LAYOUTS[name]
    root = project(tmp_path)
    write_project(root, {"contracts/shop/v1/price.proto": MONEY, place: VENDOR, **configs})
    mesh, found = read_contract(root)
    assert [one for one in found if one.code != "SG002"] == []
    assert mesh is not None
    assert {"google/type/money.proto", "google/rpc/status.proto"} <= mesh.digests.keys()


def test_what_a_registry_must_bring_is_still_asked_of_it(tmp_path: Path) -> None:
    layout = layout_of(
        write_project(
            tmp_path,
            {
                "buf.yaml": f"version: v2\n{GOOGLEAPIS.replace('[', '[buf.build/acme/money, ')}",
                "buf.lock": "version: v2\ndeps:\n"
                "  - { name: buf.build/googleapis/googleapis }\n  - { name: buf.build/acme/money }\n",
                "contracts/a.proto": MONEY.replace("vendor/", "buf/validate/").replace(
                    "price.proto", "validate.proto"
                ),
            },
        )
    )
    assert layout is not None
    assert layout.needs_registry
    assert "buf.build/acme/money" in layout.configs["buf.yaml"]["deps"]
    layout.write(tmp_path, tmp_path / "workspace")
    assert not list((tmp_path / "workspace").rglob("money.proto")), "buf would find it twice"


def test_every_file_of_googleapis_common_protos_is_in_reach() -> None:
    shipped = {
        str(path).replace("operations_proto", "operations")
        for path in distribution("googleapis-common-protos").files or ()
        if path.suffix == ".proto"
    }
    texts = dependency_texts(shipped)
    assert texts.keys() - {name for name in texts if name.startswith("google/protobuf/")} == shipped


@pytest.mark.parametrize(
    "name", ["google/api/nothing.proto", "google/cloud/storage.proto", "google/api/../../os.proto"]
)
def test_nothing_else_is(name: str) -> None:
    assert dependency_texts([name]) == {}


def test_a_missing_file_is_one_finding_however_many_import_it(tmp_path: Path) -> None:
    header = 'syntax = "proto3";\npackage shop.v1;\n'
    more = {
        f"contracts/shop/v1/m{n}.proto": f'{header}import "vendor/away.proto";\nmessage M{n} {{}}\n'
        for n in range(40)
    }
    root = write_project(
        project(tmp_path),
        more
        | {
            "contracts/shop/v1/z.proto": f'{header}import "money.proto";\n',
            HERE.replace("price", "money"): VENDOR,
        },
    )
    _, found = read_contract(root)
    assert [(one.code, one.message) for one in found] == [
        (
            "SG001",
            'imports "vendor/away.proto", which is nowhere; 39 more of the contract\'s files import it',
        ),
        ("SG001", 'imports "money.proto", which is nowhere'),
    ]
    assert found[0].hint.startswith("put it there: contracts/vendor/away.proto; ")
    assert found[1].hint == 'did you mean "vendor/money.proto"?'


def test_the_linter_leaves_copies_of_the_built_in_alone(tmp_path: Path) -> None:
    root = project(tmp_path)
    copies = {
        f"contracts/{name}": text for name, text in dependency_texts(["google/type/money.proto"]).items()
    }
    write_project(root, {"contracts/shop/v1/price.proto": 'syntax = "proto3";\npackage shop.v1;\n', **copies})
    assert not [one for one in read_contract(root)[1] if "google" in one.at.path]


def test_an_unknown_rule_is_reported_at_the_buf_yaml(tmp_path: Path) -> None:
    _, found = read_contract(project(tmp_path, buf="version: v2\nlint: { use: [TIDINESS] }\n"))
    assert [(finding.code, finding.at.path) for finding in found] == [("SG005", "buf.yaml")]
    assert '"TIDINESS" is not a known rule' in found[0].message


def test_copies_of_well_known_protos_in_the_contracts_are_not_taken_for_the_projects_own(
    tmp_path: Path,
) -> None:
    root = project(tmp_path)
    for name, text in dependency_texts(WANTED).items():
        if name.startswith("google/"):
            write_project(root, {f"contracts/{name}": text})
    sources, _ = load(root)
    assert all(name.startswith("shop/") for name in sources.paths)


def test_loading_leaves_no_trace_in_the_project(tmp_path: Path) -> None:
    root = project(tmp_path)
    before = sorted(path for path in root.rglob("*"))
    read_contract(root)
    assert sorted(path for path in root.rglob("*")) == before


def test_a_missing_buf_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def which(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(buf.shutil, "which", which)
    with pytest.raises(buf.BufMissing, match=r'pip install "sagagen\[codegen\]"'):
        load(project(tmp_path))


def test_the_printed_validate_proto_declares_what_the_descriptor_does(tmp_path: Path) -> None:
    with buf.open_workspace(project(tmp_path)) as workspace:
        buf.start_build(workspace, tmp_path / "image.binpb").findings()
    image = FileDescriptorSet.FromString((tmp_path / "image.binpb").read_bytes())
    printed = next(file for file in image.file if file.name == VALIDATE)
    assert declared(printed) == declared(FileDescriptorProto.FromString(validate_file()))


def declared(file: FileDescriptorProto) -> dict[str, list[tuple[object, ...]]]:
    """Fields of each message and extensions, values of each enum; without options and order."""
    found = {"extensions": fields(file.extension)}
    for enum in file.enum_type:
        found[enum.name] = [(value.name, value.number) for value in enum.value]
    for message in messages(file.message_type):
        found[message.name] = [
            *fields(message.field),
            *((span.start, span.end) for span in message.extension_range),
        ]
        for enum in message.enum_type:
            found[f"{message.name}.{enum.name}"] = [(value.name, value.number) for value in enum.value]
    return found


def messages(outer: Iterable[DescriptorProto]) -> Iterator[DescriptorProto]:
    for message in outer:
        yield message
        yield from messages(message.nested_type)


def fields(declarations: Iterable[FieldDescriptorProto]) -> list[tuple[object, ...]]:
    rows = [(f.number, f.name, f.label, f.type, f.type_name, f.HasField("oneof_index")) for f in declarations]
    return sorted(rows)
