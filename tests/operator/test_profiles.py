"""`--admin NAME`: gateways by the names that a user's file gives them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sagagen.cli import main
from sagagen.cli.profiles import PROFILES, is_name, profile
from sagagen.runtime.startup import SettingsError

FILE = """
[prod]
admin = "https://ops.shop.example:8081"
token_file = "prod-token"
ca_file = "/etc/prod-ca.pem"

[local]
admin = "127.0.0.1:9"
"""


def environment(folder: Path, text: str = FILE) -> dict[str, str]:
    file = folder / "profiles.toml"
    file.write_text(text, encoding="utf-8")
    return {PROFILES: str(file), "SAGAGEN_ADMIN_KEY": "mine", "HOME": str(folder)}


def test_a_profile_says_where_and_who_and_nothing_of_the_environment_is_sent_besides(tmp_path: Path) -> None:
    given = environment(tmp_path)
    found = profile("prod", given)
    assert found.admin == "https://ops.shop.example:8081"
    over = found.over(given)
    assert over["SAGAGEN_ADMIN_TOKEN_FILE"] == str(tmp_path / "prod-token")
    assert over["SSL_CERT_FILE"] == "/etc/prod-ca.pem"
    assert "SAGAGEN_ADMIN_KEY" not in over, "a key for one gateway is none of another's business"
    assert profile("local", given).over(given)["SAGAGEN_ADMIN_KEY"] == "mine"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("prod", True),
        ("eu-1_b", True),
        ("localhost:8081", False),
        ("http://x", False),
        ("127.0.0.1:1", False),
    ],
)
def test_an_address_is_no_name(text: str, meant: bool) -> None:
    assert is_name(text) is meant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FILE, 'did you mean "prod"'),
        ("[prd]\ntoken = 'secret'\nadmin = 'x:1'", "has no token; it takes admin, token_file"),
        ("[prd]\nkey_file = 'x'", "says where the listener is"),
        ("prd = 1", "is a table of texts"),
        ("[prd", "can't be read"),
    ],
)
def test_what_is_wrong_with_it_is_said_without_the_secret(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        profile("prd", environment(tmp_path, text))
    assert says in str(refused.value)
    assert "secret'" not in str(refused.value)


def test_the_file_that_is_missing_is_named_with_what_to_write(tmp_path: Path) -> None:
    answer = CliRunner().invoke(
        main, ["sagas", "stats", "--admin", "prod"], env={PROFILES: "", "XDG_CONFIG_HOME": str(tmp_path)}
    )
    assert answer.exit_code == 1
    assert str(tmp_path / "sagagen" / "profiles.toml") in answer.output


def test_the_gateway_of_a_profile_is_asked(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["sagas", "stats", "--admin", "local"], env=environment(tmp_path))
    assert "no gateway's admin listener answers on 127.0.0.1:9" in answer.output
