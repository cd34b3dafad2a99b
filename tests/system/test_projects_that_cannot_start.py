"""What a person can mend is said in one message that names the place, without a traceback."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from project_copy import WRITTEN, copy_project

from sagagen.cli.up import up
from sagagen.runtime.process.project import Project, ProjectError


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A copy of the shop under a path with a space; what was imported from elsewhere is put back afterwards."""
    root = copy_project("shop", tmp_path / "a shop", (*WRITTEN, "generated"))
    own = ("generated", "handlers", "gateway")
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in own}
    path = list(sys.path)
    yield root
    sys.path[:] = path
    for name in [name for name in sys.modules if name.split(".")[0] in own]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ndef (:\n", "handlers/order.py:2: SyntaxError: invalid syntax"),
        (
            "\nimport a_library_that_lacks\n",
            "handlers/order.py:2: ModuleNotFoundError: No module named 'a_library_that_lacks'",
        ),
        ("raise RuntimeError('no config')\n", "handlers/order.py:1: RuntimeError: no config"),
        ("raise SystemExit(3)\n", "handlers/order.py:1: SystemExit: 3"),
        ("raise BaseException('mine')\n", "handlers/order.py:1: BaseException: mine"),
        ("x = 1\n", "handlers/order.py has no class OrderService: service order needs it"),
        (
            "class OrderService:\n  def __init__(self):\n    open('')\n",
            "handlers/order.py:3: FileNotFoundError",
        ),
        (
            "from generated.services.order import OrderHandlers\nclass OrderService(OrderHandlers): ...\n",
            "handlers/order.py: OrderService lacks cancel_order, confirm_order, create_order, get_order",
        ),
    ],
)
def test_handlers_that_cannot_be_used_are_named_with_the_line(shop: Path, source: str, said: str) -> None:
    (shop / "handlers" / "order.py").write_text(source)
    project = Project.load(shop)
    with pytest.raises(ProjectError) as caught:
        project.handlers(project.service("order"))
    assert str(caught.value).startswith(said)


def test_a_composition_root_with_an_error_is_named_with_the_line(shop: Path) -> None:
    (shop / "gateway" / "app.py").write_text("from generated.mesh import MESH\ngateway = Gateway(MESH)\n")
    with pytest.raises(ProjectError, match=r"^gateway/app\.py:2: NameError: name 'Gateway' is not defined"):
        Project.load(shop).composition_root()


@pytest.mark.parametrize("lost", ["descriptors.binpb", "sagas/place_order_v1.py", "mesh.py"])
def test_a_mesh_that_is_not_whole_is_refused(shop: Path, lost: str) -> None:
    (shop / "generated" / lost).unlink()
    with pytest.raises(ProjectError, match="generated"):
        Project.load(shop)


@pytest.mark.parametrize("data_dir", ["contracts/saga.yaml", "contracts/saga.yaml/below", "/proc/data"])
def test_a_data_folder_that_cannot_be_made_is_named(
    shop: Path, monkeypatch: pytest.MonkeyPatch, data_dir: str
) -> None:
    monkeypatch.setenv("SAGAGEN_DATA_DIR", data_dir)
    result = CliRunner().invoke(up, ["--project", str(shop)])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: data can't be kept in {shop / data_dir}: ")
    assert "SAGAGEN_DATA_DIR" in result.output


def test_an_empty_setting_is_not_set(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAGAGEN_DATA_DIR", "SAGAGEN_LOG_FORMAT", "SAGAGEN_HTTP_ADDR"):
        monkeypatch.setenv(name, "")
    (shop / "var").write_text("in the way of the default folder")
    result = CliRunner().invoke(up, ["--project", str(shop)])
    assert f"data can't be kept in {shop / 'var'}" in result.output


@pytest.mark.parametrize("variable", ["SAGAGEN_HTTP_ADDR", "SAGAGEN_ADMIN_ADDR"])
@pytest.mark.parametrize("address", ["203.0.113.7:8080", "no-such-host.invalid:8080"])
def test_an_address_of_another_machine_is_named(
    shop: Path, monkeypatch: pytest.MonkeyPatch, variable: str, address: str
) -> None:
    monkeypatch.setenv("SAGAGEN_HTTP_ADDR", "127.0.0.1:0")
    monkeypatch.setenv("SAGAGEN_ADMIN_ADDR", "127.0.0.1:0")
    monkeypatch.setenv(variable, address)
    result = CliRunner().invoke(up, ["--project", str(shop)])
    assert result.exit_code == 1
    assert f"Error: cannot listen on {address}: " in result.output
    assert f"set {variable} to an address of this machine" in result.output
