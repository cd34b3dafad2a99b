"""Older versions of sagas beside saga.yaml: `sagagen bump`, what is checked, what is emitted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from contract_bench import ROOT

from sagagen.cli import main
from sagagen.contract import read_contract
from sagagen.workspace.versions import CannotBump, bump

SAGA_YAML = "contracts/saga.yaml"
V1 = "contracts/sagas/place_order.v1.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("contracts", "generated", "handlers", "gateway"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_bytes().decode()
    assert text.count(old) == 1
    file.write_bytes(text.replace(old, new).encode())


def codes(project: Path) -> list[str]:
    return [f"{each.at} {each.code}" for each in read_contract(project)[1]]


def test_the_old_version_keeps_its_digest_and_the_new_one_takes_over(project: Path):
    before, _ = read_contract(project)
    assert before
    bump(project, "place_order")
    after, found = read_contract(project)
    assert after, found
    assert [(saga.name, saga.version) for saga in after.sagas] == [("place_order", 2)]
    assert [(saga.version, saga.digest) for saga in after.kept] == [(1, before.sagas[0].digest)]


def test_only_the_version_changes_in_saga_yaml(project: Path):
    was = (project / SAGA_YAML).read_text()
    bump(project, "place_order")
    assert (project / SAGA_YAML).read_text() == was.replace("    version: 1\n", "    version: 2\n")


def test_windows_line_ends_comments_and_neighbours_stay(project: Path):
    file = project / SAGA_YAML
    text = file.read_text().replace(
        "      - name: charge_payment", "      # the third party\n      - name: charge_payment"
    )
    text += "\n  # Comes after.\n\n# The end.\n"
    file.write_bytes(text.replace("\n", "\r\n").encode())
    bump(project, "place_order")
    assert (
        file.read_bytes()
        == text.replace("    version: 1\n", "    version: 2\n").replace("\n", "\r\n").encode()
    )
    kept = (project / V1).read_bytes()
    assert b"  # the third party\r\n" in kept
    assert kept.endswith(b"request: { order_id: saga.id }\r\n")


def test_a_saga_without_a_version_is_version_1(project: Path):
    edit(project / SAGA_YAML, "    version: 1\n", "")
    bump(project, "place_order")
    assert (project / V1).read_text().startswith("version: 1\ntrigger:")
    assert read_contract(project)[0]


def test_each_bump_keeps_one_more(project: Path):
    bump(project, "place_order")
    bump(project, "place_order")
    mesh, found = read_contract(project)
    assert mesh, found
    assert [saga.version for saga in (*mesh.sagas, *mesh.kept)] == [3, 1, 2]


def test_an_unknown_saga_is_named_with_what_was_meant(project: Path):
    with pytest.raises(CannotBump, match='did you mean "place_order"'):
        bump(project, "place_ordr")


def sagagen(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--project", str(project)])


def git(project: Path, *words: str) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True)


def commit(project: Path) -> None:
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "as it is")


def change(project: Path) -> None:
    edit(project / SAGA_YAML, "reason: failure.reason", "reason: saga.id")


def digests(project: Path) -> dict[int, str]:
    mesh, found = read_contract(project)
    assert mesh, found
    return {saga.version: saga.digest for saga in (*mesh.sagas, *mesh.kept)}


@pytest.mark.parametrize("where", ["in the work tree", "on a branch", "on main"])
def test_after_an_edit_the_old_text_comes_from_git_and_the_diff_is_green(project: Path, where: str):
    commit(project)
    old, before, told = digests(project)[1], "main", ()
    if where == "on a branch":
        git(project, "checkout", "-q", "-b", "cheaper")
    change(project)
    if where != "in the work tree":
        commit(project)
    if where == "on main":  # then main itself has the edit, and only a person knows what is deployed
        before, told = "HEAD~1", ("--against", "HEAD~1")
    found = sagagen(project, "diff", "--against", before)
    assert (found.exit_code, "SD004" in found.stdout) == (1, True)
    done = sagagen(project, "bump", "place_order", *told)
    assert done.exit_code == 0, done.output
    assert digests(project)[1] == old
    assert digests(project).keys() == {1, 2}
    found = sagagen(project, "diff", "--against", before)
    assert (found.exit_code, "breaking" in found.stdout) == (0, False), found.output


def test_a_version_that_was_raised_by_hand_only_keeps_the_old_one(project: Path):
    commit(project)
    old = digests(project)[1]
    change(project)
    edit(project / SAGA_YAML, "    version: 1\n", "    version: 2\n")
    assert sagagen(project, "bump", "place_order").exit_code == 0
    assert digests(project)[1] == old
    assert digests(project).keys() == {1, 2}


def test_without_git_an_edit_is_recognized_by_what_was_generated(project: Path, tmp_path: Path):
    other = Path(shutil.copytree(project, tmp_path / "other"))
    change(project)
    was = (project / SAGA_YAML).read_bytes()
    done = sagagen(project, "bump", "place_order")
    assert (done.exit_code, (project / SAGA_YAML).read_bytes()) == (2, was)
    assert "was edited since its version 1 was generated" in done.stderr
    assert "--against REF|DIR" in done.stderr
    assert not (project / V1).exists()
    old = digests(other)[1]
    assert sagagen(project, "bump", "place_order", "--against", str(other)).exit_code == 0
    assert digests(project)[1] == old


def test_what_is_named_must_have_the_saga(project: Path, tmp_path: Path):
    other = Path(shutil.copytree(project, tmp_path / "other"))
    edit(other / SAGA_YAML, "  place_order:", "  order_place:")
    done = sagagen(project, "bump", "place_order", "--against", str(other))
    assert (done.exit_code, "has no version 1 of place_order" in done.stderr) == (2, True)
    assert sagagen(project, "bump", "place_order", "--against", "nowhere").exit_code == 2


def test_a_saga_that_leans_on_the_rest_of_the_file_is_refused(project: Path):
    edit(project / SAGA_YAML, "project: shop", "project: &name shop")
    edit(project / SAGA_YAML, "    deadline: 60s", "    deadline: *name")
    with pytest.raises(CannotBump, match="has aliases of other parts of the file"):
        bump(project, "place_order")
    assert not (project / V1).exists()


def test_a_byte_order_mark_and_what_is_no_text(project: Path):
    path = project / SAGA_YAML
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    bump(project, "place_order")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert digests(project).keys() == {1, 2}
    path.write_bytes(b"version: v1\nproject: \xff\n")
    with pytest.raises(CannotBump, match="is not UTF-8"):
        bump(project, "place_order")


def test_a_version_that_is_kept_already_is_not_overwritten(project: Path):
    (project / V1).parent.mkdir()
    (project / V1).write_text("mine")
    with pytest.raises(CannotBump, match="already exists"):
        bump(project, "place_order")
    assert (project / V1).read_text() == "mine"
    assert "version: 1\n" in (project / SAGA_YAML).read_text()


def test_a_kept_version_is_checked_against_todays_protos(project: Path):
    bump(project, "place_order")
    edit(project / V1, "payment/RefundPayment", "payment/Refund")
    (found,) = codes(project)
    assert found.startswith(f"{V1}:")
    assert found.endswith("SG065")


def test_mistakes_of_the_newest_do_not_hide_those_of_the_oldest(project: Path):
    bump(project, "place_order")
    edit(project / V1, "payment/RefundPayment", "payment/Refund")
    edit(project / SAGA_YAML, "inventory/ReleaseStock", "inventory/Release")
    assert {found.split(":")[0] for found in codes(project)} == {V1, SAGA_YAML}


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("old.yaml", None, "SG090"),
        ("place_order.v2.yaml", None, "SG091"),
        ("place_order.v2.yaml", ("version: 1", "version: 2"), "SG092"),
        ("place_order.v1.yaml", ("deadline: 60s", "deadlin: 60s"), "SG012"),
        ("place_order.v1.yaml", ("steps:", "stepz:\n -"), "SG012"),
        ("place_order.v1.yaml", ("version: 1", "\tversion: 1"), "SG010"),
    ],
)
def test_a_wrong_file_is_named(name: str, text: tuple[str, str] | None, code: str, project: Path):
    bump(project, "place_order")
    content = (project / V1).read_text()
    (project / V1).unlink()
    (project / "contracts/sagas" / name).write_text(content.replace(*text) if text else content)
    found = codes(project)
    assert found
    assert all(each.startswith(f"contracts/sagas/{name}:") for each in found)
    assert code in " ".join(found)


def test_generate_emits_both_and_leaves_the_old_module_as_it_was(project: Path):
    was = (project / "generated/sagas/place_order_v1.py").read_bytes()
    command = [sys.executable, "-m", "sagagen"]
    subprocess.run([*command, "bump", "place_order"], cwd=project, check=True, capture_output=True)
    subprocess.run([*command, "generate"], cwd=project, check=True, capture_output=True)
    assert (project / "generated/sagas/place_order_v1.py").read_bytes() == was
    assert "PLACE_ORDER_V2" in (project / "generated/mesh.py").read_text()
