"""`sagagen generate`: what it writes, what it leaves alone, and what `--check` says of it."""

import json
from pathlib import Path
from typing import cast

import pytest
from project_copy import SHOP, run_generate

from sagagen.cache import FOLDER
from sagagen.emit.files import File, Ownership
from sagagen.emit.render import manifest as manifest_of
from sagagen.workspace.comparison import Difference, Kind, compare
from sagagen.workspace.writing import write


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file() and FOLDER not in path.parts  # there, an entry's time says when it was used
    }


def generated(path: str, text: str) -> File:
    return File(f"generated/{path}", text.encode(), Ownership.GENERATED)


def manifest(*files: File) -> File:
    return manifest_of(files)


@pytest.mark.slow
def test_the_shop_in_the_repository_is_what_its_contract_emits() -> None:
    result = run_generate(SHOP, "--check")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_a_second_run_touches_nothing(tiny: Path) -> None:
    before = tree(tiny)
    result = run_generate(tiny)
    assert "nothing to do" in result.output
    assert tree(tiny) == before


@pytest.mark.slow
def test_check_names_every_file_that_differs_and_writes_nothing(tiny: Path) -> None:
    (tiny / "generated" / "mesh.py").unlink()
    (tiny / "generated" / "services" / "counter.py").write_text("edited by hand")
    (tiny / "generated" / "extra.py").write_text("")
    (tiny / "generated" / "__pycache__").mkdir(exist_ok=True)
    (tiny / "generated" / "__pycache__" / "mesh.cpython-311.pyc").write_bytes(b"")
    (tiny / "gateway" / "app.py").unlink()
    before = tree(tiny)
    result = run_generate(tiny, "--check")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "missing  gateway/app.py",
        "extra    generated/extra.py",
        "missing  generated/mesh.py",
        "edited   generated/services/counter.py",
    ]
    assert tree(tiny) == before


@pytest.mark.slow
def test_a_contract_with_errors_changes_nothing(tiny: Path) -> None:
    contract = tiny / "contracts" / "saga.yaml"
    contract.write_text(contract.read_text(encoding="utf-8").replace("counter/Add", "counter/Subtract"))
    before = tree(tiny)
    result = run_generate(tiny)
    assert result.exit_code == 1
    assert "contracts/saga.yaml:" in result.stderr
    assert tree(tiny) == before


@pytest.mark.slow
def test_handlers_and_the_gateway_are_created_once_and_then_yours(tiny: Path) -> None:
    for path in ("handlers/counter.py", "handlers/counter.sql", "gateway/app.py"):
        (tiny / path).write_text("mine", encoding="utf-8")
    assert "nothing to do" in run_generate(tiny).output
    (tiny / "handlers" / "counter.py").unlink()
    assert "created  handlers/counter.py" in run_generate(tiny).output
    assert "class CounterService(CounterHandlers):" in (tiny / "handlers" / "counter.py").read_text(
        encoding="utf-8"
    )
    assert (tiny / "handlers" / "counter.sql").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_what_the_contract_no_longer_emits_is_removed(tiny: Path) -> None:
    contract = tiny / "contracts" / "saga.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("version: 1\n", "version: 2\n"), encoding="utf-8")
    result = run_generate(tiny)
    assert "created  generated/sagas/count_up_v2.py" in result.output
    assert "removed  generated/sagas/count_up_v1.py" in result.output
    assert not (tiny / "generated" / "sagas" / "count_up_v1.py").exists()


def test_outside_of_a_project_the_command_says_what_it_looked_for(tmp_path: Path) -> None:
    result = run_generate(tmp_path)
    assert result.exit_code == 2
    assert "contracts/saga.yaml" in result.output


def test_a_stale_file_that_someone_edited_is_left(tmp_path: Path) -> None:
    old, kept = generated("old.py", "old"), generated("kept.py", "kept")
    write(tmp_path, [old, kept, manifest(old, kept)])
    (tmp_path / old.path).write_text("edited")
    changes = write(tmp_path, [kept, manifest(kept)])
    assert changes.removed == ()
    assert changes.left == (old.path,)
    assert compare(tmp_path, [kept, manifest(kept)]) == (Difference(old.path, Kind.EXTRA),)


def test_what_the_generator_did_not_create_is_never_removed(tmp_path: Path) -> None:
    outside = tmp_path / "precious.txt"
    outside.write_text("mine")
    inside = tmp_path / "generated" / "notes.txt"
    inside.parent.mkdir()
    inside.write_text("mine too")
    evil = {"../precious.txt": "0" * 64, "/etc/hostname": "0" * 64}
    (tmp_path / "generated" / "manifest.json").write_text(json.dumps({"files": evil}))
    file = generated("a.py", "a")
    changes = write(tmp_path, [file, manifest(file)])
    assert changes.removed == ()
    assert outside.exists()
    assert inside.exists()


@pytest.mark.parametrize("text", ["", "<<<<<<< HEAD", "[]", '{"files": 3}', "\xff"])
def test_a_manifest_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "manifest.json").write_bytes(text.encode("latin-1"))
    file = generated("a.py", "a")
    changes = write(tmp_path, [file, manifest(file)])
    assert changes.updated == ("generated/manifest.json",)
    assert compare(tmp_path, [file, manifest(file)]) == ()


def test_a_run_that_fails_leaves_each_file_whole(tmp_path: Path) -> None:
    first, second = generated("a.py", "old a"), generated("b.py", "old b")
    write(tmp_path, [first, second, manifest(first, second)])
    broken = File("generated/b.py", cast(bytes, "no bytes"), Ownership.GENERATED)
    with pytest.raises(TypeError):
        write(tmp_path, [generated("a.py", "new a"), broken])
    assert {path.name: path.read_text() for path in (tmp_path / "generated").glob("*.py")} == {
        "a.py": "new a",
        "b.py": "old b",
    }
    assert not list(tmp_path.rglob(".*"))


def test_what_a_killed_run_left_behind_is_swept_up(tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / ".a.py.sagagen-tmp").write_text("half")
    file = generated("a.py", "a")
    assert compare(tmp_path, [file])[0] == Difference("generated/a.py", Kind.MISSING)
    write(tmp_path, [file, manifest(file)])
    assert not list(tmp_path.rglob(".*"))


def test_a_file_names_its_own_source_where_another_path_ends_like_it(tiny: Path) -> None:
    own = tiny / "contracts/tiny/v1/counter.proto"
    other = tiny / "contracts/another/tiny/v1/counter.proto"
    other.parent.mkdir(parents=True)
    other.write_text('syntax = "proto3";\n\npackage another.tiny.v1;\n\nmessage Other {}\n', "utf-8")
    assert own.is_file()
    assert run_generate(tiny).exit_code == 0
    module = (tiny / "generated/pb/tiny/v1/__init__.py").read_text("utf-8")
    assert module.splitlines()[1] == "# Sources: contracts/tiny/v1/counter.proto"
