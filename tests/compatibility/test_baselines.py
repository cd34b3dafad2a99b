"""What `--against` can name, in every state of a repository: it is compared, all is new, or the reason is said."""

import contextlib
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result
from contract_pair import ROOT
from ruamel.yaml import YAML
from test_diff_command import git

from sagagen.cli.diff import diff as diff_command
from sagagen.compatibility.committed import CannotFollow, opened
from sagagen.git import commit_of
from sagagen.scaffold.project import Template, files_of

V = 'syntax = "proto3";\npackage v;\nmessage V {}\n'
PROTO = "contracts/booking/v1/booking.proto"
HOOKS = cast(Any, YAML(typ="safe", pure=True)).load((ROOT / ".pre-commit-hooks.yaml").read_text())
RULE = b"    booking.v1.BookingService/CountSeats: public\n"


def diff(project: Path, *arguments: str) -> Result:
    """`sagagen diff`, in this process, from the project's folder."""
    with contextlib.chdir(project):
        return CliRunner().invoke(diff_command, arguments)


def write(project: Path) -> Path:
    for path, content in files_of(Template.MINIMAL, "kiosk").items():
        if path.startswith("contracts/"):
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_bytes(content.replace(RULE, b""))  # for the rpc that goes
    return project


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "as it is")


def rpc_removed(project: Path) -> None:
    proto = (project / PROTO).resolve()
    before, _, rest = proto.read_text().partition("  rpc CountSeats")
    proto.write_text(before + rest.partition("  }\n")[2])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Without a commit. The project is one folder down, and its path has spaces and letters beyond ASCII."""
    git(tmp_path, "init", "-q", "-b", "main", "über all")
    return tmp_path / "über all"


@pytest.fixture
def project(repository: Path) -> Path:
    return write(repository / "ein laden")


def in_no_repository(project: Path) -> Path:
    shutil.rmtree(project.parent / ".git")
    return project


def before_the_contract(project: Path) -> Path:
    """Its first commit has something else."""
    moved = project.rename(project.parent.parent / "aside")
    (project.parent / "README").write_text("soon\n")
    commit(project.parent)
    return moved.rename(project)


def committed(project: Path) -> Path:
    commit(project)
    return project


def moved(project: Path) -> Path:
    commit(project)
    return project.rename(project.parent / "shop")


def shallow(project: Path) -> Path:
    commit(project)
    commit(project)
    clone = project.parent.parent / "shallow"
    git(project, "clone", "-q", "--depth", "1", f"file://{project.parent}", str(clone))
    return clone / project.name


def detached(project: Path) -> Path:
    commit(project)
    git(project, "checkout", "-q", "--detach")
    return project


def with_a_folder_named_main(project: Path) -> Path:
    (project / "main").mkdir()
    return committed(project)


def in_a_linked_work_tree(project: Path) -> Path:
    commit(project)
    linked = project.parent.parent / "linked"
    git(project, "worktree", "add", "-q", "--detach", str(linked))
    return linked / project.name


def as_it_is(project: Path) -> Path:
    return project


NEW = "everything is new, and nothing breaks"


@pytest.mark.parametrize(
    ("state", "against", "code", "says"),
    [
        (as_it_is, "HEAD", 0, f"there is no commit yet: {NEW}"),
        (as_it_is, "@", 0, f"there is no commit yet: {NEW}"),
        (as_it_is, "main", 0, f"there is no commit yet: {NEW}"),
        (as_it_is, "master", 2, "neither a folder nor a commit that git knows here: fetch it first"),
        (before_the_contract, "main", 0, f"main has no ein laden/contracts/saga.yaml: {NEW}"),
        (before_the_contract, "HEAD~1", 2, "neither a folder nor a commit"),
        (moved, "main", 0, "if the project was in ein laden/ then, compare with a checkout of that folder"),
        (committed, "HEAD", 0, "no changes against HEAD"),
        (committed, "origin/", 2, "neither a folder nor a commit"),
        (committed, "", 2, "--against names nothing: is a variable unset?"),
        (committed, "  ", 2, "--against names nothing"),
        (committed, ".", 2, "is this project itself"),
        (committed, "contracts", 2, "contracts has no contracts/saga.yaml: name a project's folder"),
        (with_a_folder_named_main, "main", 0, "no changes against main"),
        (detached, "HEAD", 0, "no changes against HEAD"),
        (detached, "main", 0, "no changes against main"),
        (shallow, "HEAD", 0, "no changes against HEAD"),
        (shallow, "HEAD~1", 2, "this clone is shallow: `git fetch --unshallow` brings its history"),
        (in_a_linked_work_tree, "main", 0, "no changes against main"),
        (in_no_repository, "main", 2, "is in no git repository: name the folder of a project"),
        (in_no_repository, "contracts", 2, "contracts has no contracts/saga.yaml, and"),
    ],
)
def test_a_state_and_what_is_compared_with(
    state: Callable[[Path], Path], against: str, code: int, says: str, project: Path
) -> None:
    done = diff(state(project), f"--against={against}")
    assert (done.exit_code, done.stderr) == (code, done.stderr if code else "")
    assert says in done.output


def test_without_git_a_folder_can_be_compared_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write(project.parent / "other")
    empty = project.parent / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    done = diff(project, "--against", "main")
    assert (done.exit_code, "git is not installed: install it, or name the folder" in done.stderr) == (
        2,
        True,
    )
    assert diff(project, "--against", str(other)).exit_code == 0


def test_a_contract_with_errors_is_not_all_new(project: Path) -> None:
    saga = project / "contracts/saga.yaml"
    saga.write_text(saga.read_text().replace("booking/HoldSeat", "booking/Hold"))
    done = diff(project, "--against", "HEAD")
    assert (done.exit_code, "this contract has errors" in done.stderr) == (2, True)


@pytest.mark.parametrize("output_format", ["json", "junit", "github", "markdown"])
def test_programs_read_that_all_is_new(output_format: str, project: Path) -> None:
    done = diff(project, "--against", "HEAD", "--format", output_format)
    assert done.exit_code == 0
    assert NEW in (done.stdout if output_format == "markdown" else done.stderr)
    if output_format == "json":
        assert json.loads(done.stdout) == []
    if output_format == "junit":
        assert ET.fromstring(done.stdout).findall(".//failure") == []


def test_the_first_commit_passes_the_hook_and_a_breaking_one_does_not(project: Path) -> None:
    """As git runs it, which gives a hook an environment of its own."""
    (entry,) = [hook["entry"] for hook in HOOKS if hook["id"] == "sagagen-diff"]
    hook = project.parent / ".git" / "hooks" / "pre-commit"
    hook.write_text(
        f'#!/bin/sh\nPATH="{Path(sys.executable).parent}:$PATH"\ncd "{project.name}" && {entry}\n'
    )
    hook.chmod(0o755)
    commit(project.parent)
    rpc_removed(project)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        commit(project.parent)
    assert b"RPC_NO_DELETE" in refused.value.stdout + refused.value.stderr


def linked_whole(project: Path) -> None:
    (project / "contracts").rename(project.parent / "protos")
    (project / "contracts").symlink_to("../protos")


def linked_folder(project: Path) -> None:
    (project / "contracts/booking").rename(project.parent / "booking")
    (project / "contracts/booking").symlink_to("../../booking")


def linked_folder_further_down(project: Path) -> None:
    (project / "contracts/booking/v1").rename(project.parent / "v1")
    (project / "contracts/booking/v1").symlink_to("../../../v1")


def linked_file(project: Path) -> None:
    (project / PROTO).rename(project.parent / "b.proto")
    (project / PROTO).symlink_to("../../../../b.proto")


def links_to_links(project: Path) -> None:
    linked_whole(project)
    (project.parent / "protos").rename(project.parent / "deep")
    (project.parent / "protos").symlink_to("deep")
    (project.parent / "deep/notes.txt").symlink_to("/etc/hostname")  # nothing that a contract is read from
    (project.parent / "deep/gone.txt").symlink_to("nowhere")


@pytest.mark.parametrize(
    "link", [linked_whole, linked_folder, linked_folder_further_down, linked_file, links_to_links]
)
def test_links_inside_the_repository_are_followed(link: Callable[[Path], None], project: Path) -> None:
    link(project)
    commit(project.parent)
    done = diff(project, "--against", "HEAD")
    assert (done.exit_code, done.stdout) == (0, "no changes against HEAD\n"), done.stderr
    rpc_removed(project)
    done = diff(project, "--against", "HEAD")
    assert (done.exit_code, "breaking[RPC_NO_DELETE]" in done.stdout) == (1, True), done.stderr


def linked_outside(project: Path, outside: Path) -> None:
    (project / "contracts").rename(outside)
    (project / "contracts").symlink_to(outside)


def linked_folder_outside(project: Path, outside: Path) -> None:
    (project / "contracts/booking").rename(outside)
    (project / "contracts/booking").symlink_to(outside)


def linked_to_nothing(project: Path, _outside: Path) -> None:
    linked_file(project)
    (project.parent / ".gitignore").write_text("b.proto\n")


def linked_to_itself(project: Path, _outside: Path) -> None:
    (project / "contracts/a.proto").symlink_to("a.proto")
    (project / "contracts/a.proto").unlink()
    (project / "contracts/b.proto").symlink_to("b.proto")


def a_submodule(project: Path, outside: Path) -> None:
    (project / "contracts/booking").rename(outside)
    git(outside, "init", "-q", "-b", "main")
    commit(outside)
    git(
        project,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        str(outside),
        "contracts/booking",
    )


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (linked_outside, "contracts links to"),
        (linked_folder_outside, "contracts/booking links to"),
        (linked_to_nothing, "contracts/booking/v1/booking.proto links to nothing that the commit has"),
        (linked_to_itself, "contracts/b.proto links to itself"),
        (a_submodule, "contracts/booking is a submodule"),
    ],
)
def test_what_git_does_not_have_is_refused_with_the_reason(
    link: Callable[[Path, Path], None], says: str, project: Path, tmp_path: Path
) -> None:
    link(project, tmp_path / "outside")
    commit(project.parent)
    (project / "contracts/b.proto").unlink(missing_ok=True)
    done = diff(project, "--against", "HEAD")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"HEAD can't be compared with: {project.name}/{says}" in done.stderr
    assert "name the folder of a project" in done.stderr


def test_links_that_multiply_are_refused(repository: Path, tmp_path: Path) -> None:
    """Thirty folders, each with two links to the next: a thousand million paths."""
    for n in range(30):
        (repository / f"n{n}").mkdir()
        for name in ("a", "b"):
            (repository / f"n{n}" / name).symlink_to(f"../n{n + 1}")
    (repository / "n30").mkdir()
    (repository / "n30" / "x.yaml").write_text("")
    commit(repository)
    with (
        opened(repository, commit_of(repository, "HEAD")) as linked,
        pytest.raises(CannotFollow, match="they multiply"),
    ):
        linked.copy("n0", tmp_path / "copy")


def test_protos_of_a_module_of_their_own_are_compared_too(project: Path) -> None:
    (project / "vendor").mkdir()
    (project / "vendor/v.proto").write_text(V)
    (project / "buf.yaml").write_text("version: v2\nmodules: [{path: contracts}, {path: vendor}]\n")
    proto = project / PROTO
    proto.write_text(
        proto.read_text().replace("\nimport", '\nimport "v.proto";\nimport', 1) + "message W { v.V v = 1; }\n"
    )
    commit(project)
    done = diff(project, "--against", "HEAD")
    assert (done.exit_code, done.stdout) == (0, "no changes against HEAD\n"), done.stderr
