"""One project with journals for all tests of this folder."""

from pathlib import Path

import pytest
from delivery_project import delivery


@pytest.fixture(scope="session")
def delivery_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated; do not change what is in it."""
    return delivery(tmp_path_factory.mktemp("delivery") / "delivery")
