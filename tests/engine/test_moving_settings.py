"""Which engine a gateway leaves, by its environment and its data folder; what is refused."""

from pathlib import Path

import pytest

from sagagen.runtime.process.moving import name_of, settings_of_left
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError

POSTGRES, RESTATE = "postgresql://shop@db/sagas", "restate+http://localhost:8080"


def settings(root: Path, url: str, leaving: str, *, has_file: bool) -> Settings:
    if has_file:
        (root / "var").mkdir()
        (root / "var" / "saga-log.db").touch()
    urls = {"SAGAGEN_ENGINE_URL": url, "SAGAGEN_ENGINE_LEAVING_URL": leaving}
    return Settings.read({name: value for name, value in urls.items() if value}, root)


@pytest.mark.parametrize(
    ("url", "leaving", "has_file", "left"),
    [
        ("", "", True, ""),
        (POSTGRES, "", False, ""),
        (POSTGRES, "", True, "log saga-log.db"),
        (RESTATE, "file", True, "log saga-log.db"),
        (POSTGRES, "file", False, ""),
        ("", POSTGRES, True, "log in PostgreSQL that is left"),
        ("", RESTATE, False, "Restate that is left"),
        (POSTGRES, RESTATE, False, "Restate that is left"),
        (RESTATE, POSTGRES, False, "log in PostgreSQL that is left"),
        (POSTGRES, "postgresql://shop@other/sagas", False, "log in PostgreSQL that is left"),
    ],
)
def test_what_is_left(tmp_path: Path, url: str, leaving: str, has_file: bool, left: str) -> None:
    found = settings_of_left(settings(tmp_path, url, leaving, has_file=has_file))
    assert (name_of(found).replace(f"{tmp_path}/var/", "") if found else "") == left


@pytest.mark.parametrize(
    ("url", "leaving", "has_file", "said"),
    [
        ("", "file", True, "set SAGAGEN_ENGINE_URL to the engine that it moves to"),
        (POSTGRES, RESTATE, True, "let a gateway finish that first"),
        (RESTATE, "restate+http://elsewhere:8080", False, "both name Restate"),
        (POSTGRES, POSTGRES, False, "name the same engine"),
        (POSTGRES, "mysql://db", False, "SAGAGEN_ENGINE_LEAVING_URL is no engine"),
    ],
)
def test_what_is_refused(tmp_path: Path, url: str, leaving: str, has_file: bool, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings_of_left(settings(tmp_path, url, leaving, has_file=has_file))
