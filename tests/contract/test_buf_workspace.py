"""buf is run on what the project says, with the dependencies that everybody needs, and with nothing else of ours."""

from collections.abc import Iterable, Iterator
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
from sagagen.contract.dependencies import VALIDATE, dependency_texts, validate_file

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
    for name, text in dependency_texts().items():
        write_project(root, {f"third_party/{name}": text})
    mesh, found = read_contract(root)
    assert mesh is not None
    assert {finding.code for finding in found} <= {"SG002"}


def test_an_unknown_rule_is_reported_at_the_buf_yaml(tmp_path: Path) -> None:
    _, found = read_contract(project(tmp_path, buf="version: v2\nlint: { use: [TIDINESS] }\n"))
    assert [(finding.code, finding.at.path) for finding in found] == [("SG005", "buf.yaml")]
    assert '"TIDINESS" is not a known rule' in found[0].message


def test_copies_of_well_known_protos_in_the_contracts_are_not_taken_for_the_projects_own(
    tmp_path: Path,
) -> None:
    root = project(tmp_path)
    for name, text in dependency_texts().items():
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
