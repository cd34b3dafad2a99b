"""Secrets that are read from files: exchanged under a running process, two valid at once, and repeated nowhere."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sagagen.runtime.secret_file import LOOK_AGAIN_S, Secret, SecretFile, parse_lines
from sagagen.runtime.settings import Settings, hide_secrets, without_strangers_secrets
from sagagen.runtime.startup import SettingsError, StartupError
from sagagen.runtime.trust.making import made_secret, main

OLD, NEW = "canary-old-" + "o" * 32, "canary-new-" + "n" * 32


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def exchange(path: Path, text: str) -> None:
    """As a person should, and Kubernetes does: in one moment."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)


def test_a_file_is_read_again_once_it_has_changed_and_looked_at_once_a_second(tmp_path: Path) -> None:
    path, hand = tmp_path / "key", Hand()
    path.write_text(OLD + "\n")
    kept = SecretFile(path, "KEY_FILE", parse_lines, hand)
    assert kept.content() == (OLD.encode(),)
    exchange(path, f"{NEW}\n{OLD}\n")
    assert kept.content() == (OLD.encode(),)
    hand.s += LOOK_AGAIN_S
    assert kept.content() == (NEW.encode(), OLD.encode())
    exchange(path, NEW)
    assert kept.look_again()
    assert not kept.look_again()
    assert kept.content() == (NEW.encode(),)


@pytest.mark.parametrize("broken", ["", "short", f"{OLD}\n{NEW}\n{OLD}x", None])
def test_a_change_of_no_use_leaves_what_was_there_and_is_told_once(
    tmp_path: Path, broken: str | None
) -> None:
    path = tmp_path / "key"
    path.write_text(OLD)
    secret = Secret.in_file(path, "KEY")
    with capture_logs() as lines:
        if broken is None:
            path.unlink()
        else:
            exchange(path, broken)
        assert not secret.look_again()
        assert not secret.look_again()
    assert secret.current == OLD.encode()
    assert len(lines) == 1
    assert "KEY_FILE" in lines[0]["problem"]
    assert not any(canary in repr(lines) for canary in (OLD, NEW))
    exchange(path, NEW)
    assert secret.look_again()
    assert secret.current == NEW.encode()


def test_two_are_accepted_at_once_and_the_first_is_used() -> None:
    secret = Secret.read({"KEY": f"{NEW}\n{OLD}"}, "KEY")
    assert secret
    assert secret.current == NEW.encode()
    assert [secret.is_one(given) for given in (NEW.encode(), OLD.encode(), b"another", b"")] == [
        *(True, True, False, False)
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {"KEY": "canary"},
        {"KEY": f"{OLD}\n{NEW}\ncanary-{OLD}"},
        {"KEY": OLD, "KEY_FILE": "/run/key"},
        {"KEY_FILE": "/nowhere/key"},
    ],
)
def test_an_error_names_the_setting_and_never_what_it_holds(environment: Mapping[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^KEY") as caught:
        Secret.read(environment, "KEY")
    assert "canary" not in str(caught.value)


ALL = {
    "SAGAGEN_ADMIN_TOKEN": "canary-admin",
    "SAGAGEN_SHARE_ANSWERS_KEY_FILE": "/run/canary-share",
    "SAGAGEN_MESH_KEY": OLD,
    "SAGAGEN_REDIS_URL": "redis://:canary-url@h/0",
    "SAGAGEN_REDIS_PASSWORD_FILE": "/run/canary-password",
    "PAYMENT_PROVIDER_KEY": "of the project",
}


def test_a_child_is_given_its_own_secrets_alone() -> None:
    of_service = without_strangers_secrets(ALL, "payment")
    assert set(ALL) - set(of_service) == {"SAGAGEN_ADMIN_TOKEN", "SAGAGEN_SHARE_ANSWERS_KEY_FILE"}
    of_gateway = without_strangers_secrets(ALL, "gateway")
    assert set(ALL) - set(of_gateway) == {"SAGAGEN_REDIS_URL", "SAGAGEN_REDIS_PASSWORD_FILE"}
    keys = {f"SAGAGEN_{name}ENCRYPTION_KEYS_FILE": "/keys" for name in ("", "ORDER_", "PAYMENT_")}
    assert set(keys) - set(without_strangers_secrets(keys, "payment")) == {
        "SAGAGEN_ORDER_ENCRYPTION_KEYS_FILE"
    }
    assert set(without_strangers_secrets(keys, "gateway")) == {"SAGAGEN_ENCRYPTION_KEYS_FILE"}
    urls = {
        f"SAGAGEN_{name}_URL_FILE": "/url" for name in ("ORDER_DATABASE", "ORDER_READ", "PAYMENT_DATABASE")
    }
    assert set(without_strangers_secrets(urls, "order")) == {
        "SAGAGEN_ORDER_DATABASE_URL_FILE",
        "SAGAGEN_ORDER_READ_URL_FILE",
    }
    assert without_strangers_secrets(urls, "gateway") == {}
    # Where metrics are not for everybody, services have to know who looks at them.
    closed = {
        **ALL,
        "SAGAGEN_METRICS": "closed",
        "SAGAGEN_API_KEYS_FILE": "/keys",
        "SAGAGEN_ADMIN_KEY": "my own",
    }
    of_service = without_strangers_secrets(closed, "payment")
    assert set(closed) - set(of_service) == {"SAGAGEN_SHARE_ANSWERS_KEY_FILE", "SAGAGEN_ADMIN_KEY"}
    assert without_strangers_secrets({**ALL, "SAGAGEN_SHARE_ANSWERS": "1"}, "gateway").keys() >= set(ALL)


def test_what_is_read_leaves_the_environment_and_stands_in_no_repr() -> None:
    environment = {name: value for name, value in ALL.items() if not name.endswith("_FILE")}
    settings = Settings.read(environment, Path("/"))
    assert "canary" not in repr(settings)
    assert settings.admin_token is not None
    assert settings.admin_token.is_one(b"canary-admin")
    hide_secrets(environment)
    assert environment == {"PAYMENT_PROVIDER_KEY": "of the project"}


def test_a_key_that_nobody_made_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "mesh-key"
    with ThreadPoolExecutor(8) as pool:
        made = [made.read_bytes() for made in pool.map(made_secret, [file] * 16)]
    assert len(set(made)) == 1
    assert Secret.in_file(file, "SAGAGEN_MESH_KEY").current == made[0].strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(StartupError, match="can't be kept in /proc/mesh-key"):
        made_secret(Path("/proc/mesh-key"))


def test_containers_have_their_keys_made_before_they_start(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    for _ in range(2):
        main([f"mesh={tmp_path}", f"redis={tmp_path / 'redis'}"])
    password = (tmp_path / "redis" / "password").read_text().strip()
    assert len(password) == 64
    assert (tmp_path / "redis" / "redis.conf").read_text() == f"requirepass {password}\n"
    with pytest.raises(StartupError, match="none of mesh, redis, postgres, restate, rotate and retire"):
        main(["other=/tmp"])


def test_a_key_is_joined_by_a_new_one_and_then_it_ends(tmp_path: Path) -> None:
    main([f"mesh={tmp_path}"])
    key = Secret.in_file(tmp_path / "mesh-key", "SAGAGEN_MESH_KEY")
    first = key.current
    main([f"rotate={tmp_path}"])
    assert key.look_again()
    new, old = key.values()
    assert (old, len(new)) == (first, 64)
    main([f"retire={tmp_path}"])
    assert key.look_again()
    assert key.values() == (new,)
    assert [(each.name, each.stat().st_mode & 0o777) for each in tmp_path.iterdir()] == [("mesh-key", 0o600)]
    with pytest.raises(SettingsError, match="can't be read"):
        main([f"rotate={tmp_path / 'nowhere'}"])
