"""A run makes again only what would come out differently, and finds out what that is from content alone."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from project_copy import PROJECTS, run_generate

from sagagen.cache import FOLDER
from sagagen.contract import buf, read_contract
from sagagen.contract.built import Built
from sagagen.diagnostics import Diagnostic
from sagagen.emit import dashboards
from sagagen.emit.boards import SagaBoard, ServiceBoard
from sagagen.emit.compiler_process import COMPILER
from sagagen.emit.messages import Compilation
from sagagen.workspace import handler_sync, snapshot
from sagagen.workspace.no_change import unchanged
from sagagen.workspace.renames import Renamed
from sagagen.workspace.snapshot import Snapshot, open_cache
from sagagen.workspace.synced import Synced

PROTO = "contracts/tiny/v1/counter.proto"


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The handler files that libcst was asked about."""
    seen: list[str] = []
    genuine = handler_sync.sync_handler

    def watched(content: bytes, contract: handler_sync.HandlerContract, renamed: Renamed) -> Synced:
        seen.append(contract.path)
        return genuine(content, contract, renamed)

    monkeypatch.setattr(handler_sync, "sync_handler", watched)
    return seen


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_handler_in_line_is_not_understood_again(tiny: Path, understood: list[str]) -> None:
    edit(tiny / PROTO, "message ", "// A comment.\nmessage ")
    assert "updated" in run_generate(tiny).output
    assert understood == []


def test_a_handler_that_somebody_edited_is(tiny: Path, understood: list[str]) -> None:
    handler = tiny / "handlers/counter.py"
    edit(handler, "class ", "SPARE = 1\n\n\nclass ")
    assert run_generate(tiny).exit_code == 0
    assert understood == ["handlers/counter.py"]
    edit(tiny / PROTO, "message ", "// A comment.\nmessage ")
    run_generate(tiny)
    assert understood == ["handlers/counter.py"], "it was found in line by the run before"


def test_a_new_message_concerns_only_handlers_that_have_its_name(tiny: Path, understood: list[str]) -> None:
    edit(tiny / PROTO, "message ", "message Unheard {}\n\nmessage ")
    run_generate(tiny)
    assert understood == []
    edit(tiny / "handlers/counter.py", "class ", "# Until there is a Later in the contract.\n\n\nclass ")
    run_generate(tiny)
    understood.clear()
    edit(tiny / PROTO, "message ", "message Later {}\n\nmessage ")
    run_generate(tiny)
    assert understood == ["handlers/counter.py"]


def test_a_message_that_is_gone_is_missed_by_the_handler_that_imports_it(tiny: Path) -> None:
    edit(tiny / PROTO, "message ", "message Shortlived {}\n\nmessage ")
    run_generate(tiny)
    handler = tiny / "handlers/counter.py"
    edit(handler, "class ", "from generated.pb.tiny.v1 import Shortlived\n\n\nclass ")
    assert run_generate(tiny).exit_code == 0
    edit(tiny / PROTO, "message Shortlived {}\n\n", "")
    assert "the contract no longer has Shortlived" in run_generate(tiny).output


def test_a_package_that_is_gone_is_missed_by_the_handler_that_imports_it(tiny: Path) -> None:
    extra = tiny / "contracts/extra/v1/extra.proto"
    extra.parent.mkdir(parents=True)
    extra.write_text('syntax = "proto3";\n\npackage extra.v1;\n\n// Unused.\nmessage Thing {}\n')
    edit(tiny / "handlers/counter.py", "class ", "from generated.pb.extra import v1\n\n\nclass ")
    assert run_generate(tiny).exit_code == 0
    extra.unlink()
    assert "the contract no longer has v1" in run_generate(tiny).output


def test_a_handler_with_a_finding_is_reported_in_every_run(tiny: Path) -> None:
    edit(tiny / "handlers/counter.py", "class ", "class :\n\n\nclass ")
    for comment in ("One.", "Two."):
        edit(tiny / PROTO, "message ", f"// {comment}\nmessage ")
        assert "SG160" in run_generate(tiny).output


def test_boards_are_built_again_where_what_they_show_has_changed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def watched(make: Callable[[Any], str]) -> Callable[[Any], str]:
        def made(board: SagaBoard | ServiceBoard) -> str:
            built.append(board.name)
            return make(board)

        return made

    monkeypatch.setattr(dashboards, "saga_board", watched(dashboards.saga_board))
    monkeypatch.setattr(dashboards, "service_board", watched(dashboards.service_board))
    edit(tiny / PROTO, "message ", "// A comment.\nmessage ")
    run_generate(tiny)
    assert built == []
    saga, board = tiny / "contracts/saga.yaml", tiny / "generated/deploy/grafana/dashboards"
    before = {path.name: path.read_text() for path in board.glob("*.json")}
    edit(saga, "    deadline: ", "    deadline: 1")
    run_generate(tiny)
    assert len(built) == 1
    changed = [path.name for path in board.glob("*.json") if path.read_text() != before[path.name]]
    assert changed == [f"saga-{built[0]}.json"]


@pytest.mark.usefixtures("tools_of_its_own")
def test_the_compiler_is_started_early_where_protos_changed_and_stopped_where_nobody_needed_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    genuine = subprocess.Popen

    def watched(command: Sequence[str], *arguments: Any, **options: Any) -> Any:
        process: Any = genuine(command, *arguments, **options)
        if str(COMPILER) in command:
            started.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", watched)
    edit(tiny / "contracts/saga.yaml", "    deadline: ", "    deadline: 1")
    run_generate(tiny)
    assert not started, "no message can have changed"
    edit(tiny / PROTO, "message ", "message Unheard {}\n\nmessage ")
    run_generate(tiny)
    assert [one.poll() is None for one in started] == [False], "the one that was started early has compiled"
    edit(tiny / PROTO, "message Unheard {}", "message Unheard {} // Nothing.\n   ")
    edit(tiny / "contracts/saga.yaml", "sagas:", "sagas: [")
    assert run_generate(tiny).exit_code == 1
    assert [one.poll() is None for one in started] == [False, False], "stopped: there was nothing to compile"


@pytest.mark.parametrize("name", ["short", "x" * 40])
def test_a_board_is_called_by_its_name(name: str) -> None:
    assert dashboards.uid(name) == name


def test_boards_whose_long_names_begin_alike_are_two_boards() -> None:
    one, other = (dashboards.uid("shop-saga-" + "place_an_order_" * 3 + end) for end in "ab")
    assert one != other
    assert len(one) == len(other) == 40


def test_check_trusts_no_memory(tiny: Path, understood: list[str]) -> None:
    assert run_generate(tiny, "--check").exit_code == 0
    assert understood == ["handlers/counter.py"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 100])
def test_a_damaged_memory_counts_as_none(
    tiny: Path, understood: list[str], asked: list[str], damage: bytes
) -> None:
    now = snapshot.snapshot(tiny)
    cache = open_cache(tiny, now)
    assert (unchanged(cache, now), Built.latest(cache) is None) == ((), False)
    for path in (tiny / FOLDER).iterdir():
        path.write_bytes(damage)
    assert (unchanged(cache, now), Built.latest(cache)) == (None, None)
    edit(tiny / "contracts/saga.yaml", "deadline: 10s", "deadline: 11s")
    assert run_generate(tiny).exit_code == 0
    assert (understood, sorted(asked)) == (["handlers/counter.py"], ["build", "lint"])
    assert Built.latest(cache) is not None
    assert run_generate(tiny, "--check").exit_code == 0


def test_what_another_generator_or_other_tools_made_is_not_asked_for(tiny: Path) -> None:
    now = snapshot.snapshot(tiny)
    for other in ("<surroundings>", "<sagagen>/contract/buf.py", "<sagagen>/emit/templates/saga.py.j2"):
        assert other in now
        assert Built.latest(open_cache(tiny, {**now, other: "another"})) is None
    assert Built.latest(open_cache(tiny, {**now, "contracts/saga.yaml": "another"})) is not None


def test_a_contract_that_was_there_before_is_made_of_what_is_kept(
    tiny: Path, understood: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(tiny / PROTO, "message ", "message Passing {}\n\nmessage ")
    run_generate(tiny)
    edit(tiny / PROTO, "message Passing {}\n\n", "")

    def run(*_: object) -> None:
        pytest.fail("these messages were compiled before")

    monkeypatch.setattr(Compilation, "run", run)
    assert run_generate(tiny).exit_code == 0
    assert understood == []
    monkeypatch.undo()
    assert run_generate(tiny, "--check").exit_code == 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What buf is told to do."""
    seen: list[str] = []
    genuine = buf.Workspace.run

    def watched(self: buf.Workspace, *arguments: str) -> buf.Work:
        seen.append(arguments[0])
        return genuine(self, *arguments)

    monkeypatch.setattr(buf.Workspace, "run", watched)
    return seen


def test_who_changes_sagas_does_not_wait_for_buf(tiny: Path, asked: list[str]) -> None:
    edit(tiny / "contracts/saga.yaml", "deadline: 10s", "deadline: 11s")
    assert run_generate(tiny).exit_code == 0
    assert "deadline_s=11.0" in (tiny / "generated/sagas/count_up_v1.py").read_text()
    assert asked == []
    assert run_generate(tiny, "--check").exit_code == 0
    assert sorted(asked) == ["build", "lint"]


def test_what_the_linter_said_is_said_again(tiny: Path, asked: list[str]) -> None:
    edit(tiny / PROTO, "message ", "message lower_case {}\n\nmessage ")
    first = run_generate(tiny)
    assert "lower_case" in first.stderr
    asked.clear()
    edit(tiny / "contracts/saga.yaml", "deadline: 10s", "deadline: 11s")
    again = run_generate(tiny)
    assert (asked, again.stderr) == ([], first.stderr)


def test_protos_that_compile_are_known_also_where_the_sagas_are_wrong(tiny: Path, asked: list[str]) -> None:
    edit(tiny / PROTO, "message ", "// A comment.\nmessage ")
    edit(tiny / "contracts/saga.yaml", "deadline: 10s", "deadlin: 10s")
    assert run_generate(tiny).exit_code == 1
    asked.clear()
    edit(tiny / "contracts/saga.yaml", "deadlin: 10s", "deadline: 10s")
    assert run_generate(tiny).exit_code == 0
    assert asked == []
    assert run_generate(tiny, "--check").exit_code == 0


@pytest.mark.parametrize(
    ("path", "before", "saved", "meanwhile"),
    [
        (PROTO, "message ", "message Early {}\n\nmessage ", "message Late {}\n\nmessage "),
        ("contracts/saga.yaml", "deadline: 10s", "deadline: 11s", "deadline: 12s"),
    ],
)
def test_a_contract_that_was_changed_during_a_run_and_changed_back_is_read_again(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, path: str, before: str, saved: str, meanwhile: str
) -> None:
    edit(tiny / path, before, saved)
    genuine = snapshot.snapshot

    def taken_before_a_change(root: Path) -> Snapshot:
        taken = genuine(root)
        edit(tiny / path, saved, meanwhile)
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "snapshot", taken_before_a_change)
        assert run_generate(tiny).exit_code == 0
    edit(tiny / path, meanwhile, saved)
    assert run_generate(tiny).exit_code == 0
    assert run_generate(tiny, "--check").exit_code == 0


def test_where_nothing_can_be_kept_all_is_made_each_time(tiny: Path) -> None:
    shutil.rmtree(tiny / FOLDER)
    (tiny / FOLDER).write_text("in the way")
    edit(tiny / "contracts/saga.yaml", "deadline: 10s", "deadlin: 10s")
    broken = run_generate(tiny)
    assert (broken.exit_code, "deadlin" in broken.stderr) == (1, True)
    edit(tiny / "contracts/saga.yaml", "deadlin: 10s", "deadline: 11s")
    assert run_generate(tiny).exit_code == 0
    assert run_generate(tiny, "--check").exit_code == 0
    assert (tiny / FOLDER).read_text() == "in the way"


def test_a_preview_does_not_wait_for_buf_either(tiny: Path, asked: list[str]) -> None:
    edit(tiny / "contracts/saga.yaml", "deadline: 10s", "deadline: 11s")
    assert "+    deadline_s=11.0" in run_generate(tiny, "--diff").output
    assert asked == []


def test_force_and_rules_of_ones_own_trust_no_memory(tiny: Path, asked: list[str]) -> None:
    edit(tiny / "contracts/saga.yaml", "deadline: 10s", "deadline: 11s")
    assert run_generate(tiny, "--force").exit_code == 0
    assert sorted(asked) == ["build", "lint"]
    asked.clear()
    (tiny / "buf.yaml").write_text("version: v2\nmodules: [{path: contracts}]\nlint: {use: [MINIMAL]}\n")
    assert run_generate(tiny).exit_code == 0
    assert sorted(asked) == ["build", "lint"]


def test_packages_come_out_the_same_whoever_is_compiled_with_them() -> None:
    mesh, found = read_contract(PROJECTS / "nested")
    assert mesh is not None, list[Diagnostic](found)
    compilation = Compilation(mesh.names, mesh.docs)
    together = compilation.run(set(mesh.names.packages.values()))
    assert {package: compilation.run([package])[package] for package in together} == together
