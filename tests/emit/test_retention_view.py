"""How long a service remembers stands in its generated definition where the contract says it, and only there."""

import shutil
from pathlib import Path

from project_copy import PROJECTS, run_generate


def test_a_retention_of_the_contract_reaches_the_service(tmp_path: Path) -> None:
    root = shutil.copytree(PROJECTS / "tiny", tmp_path / "tiny")
    contract = root / "contracts" / "saga.yaml"
    assert run_generate(root).exit_code == 0
    definition = root / "generated" / "services" / "counter.py"
    assert "barrier_retention_s" not in definition.read_text()
    contract.write_text(contract.read_text().replace("implements:", "retention: 45d, implements:", 1))
    result = run_generate(root)
    assert result.exit_code == 0, result.output
    assert "    barrier_retention_s=3888000.0,\n" in definition.read_text()
