"""Contracts other than the shop's give a mesh that type-checks and can be imported."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from type_checker import CODEGEN, type_errors, type_errors_of

Generated = Callable[[str], Path]


def run_python(root: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CODEGEN), str(root)])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=root,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_meshes_pass_the_strict_type_checker(generated_project: Generated) -> None:
    roots = [generated_project(name) for name in ("nested", "tiny", "delivery", "tree")]
    assert type_errors_of(roots) == {root: [] for root in roots}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nested", "tiny", "delivery", "tree"])
def test_the_mesh_its_handlers_and_the_gateway_can_be_imported(
    generated_project: Generated, name: str
) -> None:
    code = """
import importlib
from generated.mesh import MESH
import gateway.app
for service in MESH.services:
    module, _, name = service.handlers.partition(":")
    getattr(importlib.import_module(module), name)()
print(len(MESH.services), len(MESH.sagas), len(MESH.routes))
"""
    expected = {"nested": "3 3 6", "tiny": "1 1 1", "delivery": "6 1 4", "tree": "1 2 3"}
    assert run_python(generated_project(name), code) == expected[name]


@pytest.mark.slow
def test_generated_code_refuses_a_runtime_of_another_interface(tiny: Path) -> None:
    init = tiny / "generated" / "__init__.py"
    init.write_text(
        init.read_text(encoding="utf-8").replace("require_api(1)", "require_api(99)"), encoding="utf-8"
    )
    code = """
try:
    import generated.mesh
except ImportError as error:
    print(error)
"""
    message = run_python(tiny, code)
    assert "99" in message
    assert "sagagen" in message


@pytest.mark.slow
def test_names_of_two_packages_in_one_saga_are_told_apart(generated_project: Generated) -> None:
    saga = (
        generated_project("nested")
        .joinpath("generated", "sagas", "open_exhibit_v3.py")
        .read_text(encoding="utf-8")
    )
    assert "from generated.pb.museum.ticket.v1 import OpenRequest as TicketV1OpenRequest" in saga
    assert "from generated.services.tickets import OPEN as TICKETS_OPEN" in saga
    assert "def request_announce(scope: Scope[OpenExhibitRequest]) -> TicketV1OpenRequest:" in saga


DEPARTURES = {
    "another_request": ("request: AddRequest", "request: AddResponse"),
    "another_response": ("call: Call) -> AddResponse", "call: Call) -> AddRequest"),
    "no_call": (", call: Call)", ")"),
    "missing": ("async def add", "async def subtract"),
    "not_async": ("async def add", "def add"),
}


@pytest.mark.slow
def test_a_handler_that_departs_from_the_contract_fails_the_type_checker(tiny: Path) -> None:
    source = (tiny / "handlers" / "counter.py").read_text(encoding="utf-8")
    use = "\n\nCounterService()\n"  # a method that is missing shows where the class is used
    for name, (right, wrong) in DEPARTURES.items():
        assert right in source
        departed = source.replace(right, wrong) + use
        (tiny / "handlers" / f"{name}.py").write_text(departed, encoding="utf-8")
    (tiny / "handlers" / "faithful.py").write_text(source + use, encoding="utf-8")
    assert {error.partition(":")[0] for error in type_errors(tiny)} == {
        f"handlers/{name}.py" for name in DEPARTURES
    }
