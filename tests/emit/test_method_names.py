"""Rpcs whose names mean something in Python still get a method, and it shadows nothing that its class needs."""

import shutil
from pathlib import Path

import pytest
from project_copy import PROJECTS, run_generate
from type_checker import type_errors

pytestmark = pytest.mark.slow

RPCS = {
    "__init__": "init__",
    "_transport": "transport",
    "Abstractmethod": "abstractmethod_",
    "Float": "float_",
    "Import": "import_",
    "Self": "self",
    "Service": "service",
    "Str": "str_",
}


def test_rpcs_named_like_what_their_classes_use(tmp_path: Path) -> None:
    root = Path(shutil.copytree(PROJECTS / "tiny" / "contracts", tmp_path / "tiny" / "contracts")).parent
    proto = root / "contracts" / "tiny" / "v1" / "counter.proto"
    add = "  rpc Add(AddRequest) returns (AddResponse);\n"
    text = proto.read_text()
    assert add in text
    proto.write_text(text.replace(add, "".join(add.replace("Add(", f"{name}(") for name in [*RPCS, "Add"])))
    result = run_generate(root)
    assert result.exit_code == 0, result.output
    handlers = (root / "handlers" / "counter.py").read_text()
    assert [name for name in RPCS.values() if f"async def {name}(" not in handlers] == []
    assert type_errors(root) == []
