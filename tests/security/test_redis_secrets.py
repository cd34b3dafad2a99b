"""A Redis with a password, with users and with TLS: what is right is used, and what is wrong costs speed alone."""

import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trustme
from redis_server import RedisServer
from stack import free_ports
from structlog.testing import capture_logs
from waiting import eventually_async

from sagagen.runtime.addresses import RedisAddress
from sagagen.runtime.redis import pipeline as pipeline_module
from sagagen.runtime.redis.pipeline import RedisPipeline
from sagagen.runtime.redis.seal import Seal, seal
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.startup import SettingsError

PASSWORD, WRONG = "canary-right-password", "canary-wrong-password"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy enough, a second is over before a handshake has its turn."""
    monkeypatch.setattr(pipeline_module, "CONNECT_S", 30.0)
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 30.0)
    monkeypatch.setattr(pipeline_module, "MAX_PAUSE_S", 0.3)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD) as server:
        yield server


@asynccontextmanager
async def asking(environment: Mapping[str, str]) -> AsyncGenerator[RedisPipeline]:
    address = RedisAddress.read(environment)
    assert address
    assert "canary" not in repr(address)
    async with RedisPipeline.open(address, "trial") as pipeline:
        yield pipeline


async def up(pipeline: RedisPipeline) -> None:
    await eventually_async("redis to be of use", lambda: pipeline.is_up)
    pipeline.store("key", {"field": b"value"})
    assert await pipeline.find("key", ["field"]) == [b"value"]


@contextmanager
def told() -> Generator[Callable[[], str]]:
    """What is in the log so far; no password ever is."""
    with capture_logs() as lines:
        yield lambda: repr(lines)
    assert "canary" not in repr(lines)


async def test_a_password_in_a_file_is_used_and_read_again_for_each_connection(
    guarded: RedisServer, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(WRONG)
    environment = {"SAGAGEN_REDIS_URL": guarded.url, "SAGAGEN_REDIS_PASSWORD_FILE": str(file)}
    with told() as log:
        async with asking(environment) as pipeline:
            await eventually_async("a refusal", lambda: pipeline.failures)
            assert not pipeline.is_up
            assert await pipeline.find("key", ["field"]) is None
            assert "does not take our user and password (SAGAGEN_REDIS_PASSWORD" in log()
            beside = file.with_suffix(".new")
            beside.write_text(PASSWORD)
            os.replace(beside, file)
            await up(pipeline)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"SAGAGEN_REDIS_PASSWORD": f"{WRONG}\n{PASSWORD}"}, id="the other of two"),
        pytest.param({"SAGAGEN_REDIS_USER": "mesh", "SAGAGEN_REDIS_PASSWORD": "canary-of-mesh"}, id="a user"),
    ],
)
async def test_redis_takes_what_the_environment_says(guarded: RedisServer, more: Mapping[str, str]) -> None:
    async with asking({"SAGAGEN_REDIS_URL": guarded.url.replace("//", f"//:{PASSWORD}@")}) as pipeline:
        await up(pipeline)
        send = pipeline_module._exchange  # pyright: ignore[reportPrivateUsage] - a command that only this test gives
        user = ("ACL", "SETUSER", "mesh", "on", ">canary-of-mesh", "~*", "+@all")
        await send(pipeline._connection, [user])  # pyright: ignore[reportPrivateUsage] - as above
    with told():
        async with asking({"SAGAGEN_REDIS_URL": guarded.url, **more}) as pipeline:
            await up(pipeline)


async def test_tls_is_for_a_server_whose_authority_is_known_and_whose_name_is_right(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ours.pem")
    theirs.cert_pem.write_to_path(tmp_path / "theirs.pem")
    certificate = ours.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    (port,) = free_ports(1)
    options = [
        "--tls-port",
        str(port),
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        f"{tmp_path}/ours.pem",
    ]
    options += ["--tls-cert-file", f"{tmp_path}/cert.pem", "--tls-key-file", f"{tmp_path}/key.pem"]
    with RedisServer(tmp_path, *options, "--requirepass", PASSWORD):

        def environment(host: str, authority: str) -> dict[str, str]:
            url = f"rediss://{host}:{port}/0"
            ca = str(tmp_path / authority)
            return {"SAGAGEN_REDIS_URL": url, "SAGAGEN_REDIS_PASSWORD": PASSWORD, "SAGAGEN_REDIS_CA_FILE": ca}

        async with asking(environment("127.0.0.1", "ours.pem")) as pipeline:
            await up(pipeline)
        for host, authority in (("127.0.0.1", "theirs.pem"), ("localhost", "ours.pem")):
            with told() as log:
                async with asking(environment(host, authority)) as pipeline:
                    await eventually_async("a failed handshake", lambda at=pipeline: at.failures)
                    assert not pipeline.is_up
                    assert "CERTIFICATE_VERIFY_FAILED" in log()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SAGAGEN_REDIS_URL": "http://canary"}, "SAGAGEN_REDIS_URL is no URL of Redis"),
        (
            {"SAGAGEN_REDIS_URL": "redis://:canary@h", "SAGAGEN_REDIS_CA_FILE": "/ca"},
            "SAGAGEN_REDIS_CA_FILE is for TLS",
        ),
        (
            {"SAGAGEN_REDIS_URL": "rediss://:canary@h", "SAGAGEN_REDIS_CA_FILE": "/nowhere"},
            "SAGAGEN_REDIS_CA_FILE: there is no file",
        ),
    ],
)
def test_a_setting_of_no_use_is_named_without_what_is_secret(
    environment: Mapping[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        RedisAddress.read(environment)
    assert "canary" not in str(caught.value)


async def test_a_url_that_cannot_be_read_is_told_without_what_is_in_it() -> None:
    """A password with a slash that is not escaped ends the host: `canary` would be a port, and named in an error."""
    with told() as log:
        async with asking({"SAGAGEN_REDIS_URL": "redis://user:canary/secret@localhost:1/0"}) as pipeline:
            await eventually_async("a failure", lambda: pipeline.failures)
            assert "can't be read as a URL" in log()


def test_what_one_key_has_sealed_is_opened_until_it_is_gone() -> None:
    old, new = b"o" * 32, b"n" * 32
    sealed = Seal(Secret.of("KEY", old)).close("name", b"answer")
    assert Seal(Secret.of("KEY", new, old)).open("name", sealed) == b"answer"
    assert Seal(Secret.of("KEY", new, old)).open("moved", sealed) is None
    assert Seal(Secret.of("KEY", new)).open("name", sealed) is None


def test_where_data_are_encrypted_redis_holds_no_answer_that_can_be_read() -> None:
    old, new = b"o" * 32, b"n" * 32
    sealed = seal(Secret.of("KEY", old), is_encrypted=True).close("name", b"answer of a customer")
    assert b"answer" not in sealed
    assert b"answer" in seal(Secret.of("KEY", old), is_encrypted=False).close("name", b"answer of a customer")
    rotating = seal(Secret.of("KEY", new, old), is_encrypted=True)
    assert rotating.open("name", sealed) == b"answer of a customer"
    for name, given in (("moved", sealed), ("name", sealed[:-1] + b"x"), ("name", b""), ("name", None)):
        assert rotating.open(name, given) is None
    assert seal(Secret.of("KEY", new), is_encrypted=True).open("name", sealed) is None
