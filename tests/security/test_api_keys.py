"""API keys: made by the command, known to a gateway that runs, and gone once their line is."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from small_mesh import ManualClock
from starlette.datastructures import Headers

from sagagen.cli import main
from sagagen.runtime.access.api_keys import ApiKey, KeyFile, digest_of, parse
from sagagen.runtime.access.identity import Identity, Unauthenticated
from sagagen.runtime.access.schemes import Schemes
from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.model.security import ApiKeyScheme, Security
from sagagen.runtime.secret_file import LOOK_AGAIN_S
from sagagen.runtime.startup import SettingsError

SECURITY = Security((ApiKeyScheme("staff", "X-Staff-Key"), ApiKeyScheme("partners", "X-Api-Key")))
NOW_S = 1_700_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes is noticed at the next look, and not a second later."""
    assert LOOK_AGAIN_S == 1.0
    monkeypatch.setattr("sagagen.runtime.secret_file.LOOK_AGAIN_S", 0.0)


def keys(file: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ("keys", *words, "--file", str(file)), prog_name="sagagen")


def made(file: Path, *words: str) -> str:
    """A new key."""
    done = keys(file, "new", *words)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


class Callers:
    def __init__(self, schemes: Schemes, clock: ManualClock) -> None:
        self.clock = clock
        self._anybody = schemes.by(("staff", "partners"))

    async def who(self, *shown: tuple[str, str]) -> Identity:
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in shown]
        return await self._anybody.identity(Headers(raw=raw))

    async def partner(self, key: str) -> str:
        return (await self.who(("X-Api-Key", key))).caller

    async def refused(self, *shown: tuple[str, str]) -> str:
        with pytest.raises(Unauthenticated) as error:
            await self.who(*shown)
        assert all(value not in str(error.value) for _, value in shown if value)
        return str(error.value)


@asynccontextmanager
async def callers_of(file: Path) -> AsyncGenerator[Callers]:
    clock = ManualClock(ms=NOW_S * 1000)
    files = AccessFiles(file, is_api_keys_set=True, key_sets={})
    async with Schemes.opened(SECURITY, files, clock) as schemes:
        yield Callers(schemes, clock)


async def test_whose_key_it_is_and_what_they_may(file: Path) -> None:
    key = made(file, "acme", "--scope", "orders.read", "--scope", "orders.write", "--scheme", "partners")
    of_all = made(file, "ops")
    async with callers_of(file) as callers:
        acme = await callers.who(("X-Api-Key", key))
        assert (acme.caller, acme.scheme) == ("partners:acme", "partners")
        assert acme.scopes == {"orders.read", "orders.write"}
        assert (await callers.who(("X-Staff-Key", of_all))).caller == "ops", "the first scheme's own"
        assert await callers.partner(of_all) == "partners:ops", "and nobody of another scheme has its id"
        assert "no key of this gateway" in await callers.refused(("X-Staff-Key", key))


async def test_what_is_no_key_is_refused(file: Path) -> None:
    key = made(file, "acme")
    line = file.read_text().splitlines()[-1]
    async with callers_of(file) as callers:
        for shown in ("", "sgk_", key[:-1], key + "x", f" {key} {key}", key.upper(), "x" * 100_000, "größe"):
            assert "no key of this gateway" in await callers.refused(("X-Api-Key", shown)), shown
        assert "no key of" in await callers.refused(("X-Api-Key", digest_of(key).hex())), (
            "the file is no secret"
        )
        assert "no key of" in await callers.refused(("X-Api-Key", line.split()[1]))
        for name in ("X_Api_Key", "X-Api-Keys", "Cookie", "Authorization"):
            assert "this needs a key in X-Staff-Key" in await callers.refused((name, key)), name
        for twice in ((("X-Api-Key", key),) * 2, (("X-Api-Key", key), ("X-Staff-Key", key))):
            assert "several credentials" in await callers.refused(*twice)


async def test_two_keys_of_a_name_are_valid_until_one_is_taken_out(file: Path) -> None:
    old, new = made(file, "acme"), made(file, "acme")
    async with callers_of(file) as callers:
        assert [await callers.partner(key) for key in (old, new)] == ["partners:acme"] * 2
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if digest_of(old).hex() not in line))
        assert "no key" in await callers.refused(("X-Api-Key", old)), "at the next request"
        assert await callers.partner(new) == "partners:acme"
        late = made(file, "late")
        assert await callers.partner(late) == "partners:late"


async def test_a_key_expires_while_the_gateway_runs(file: Path) -> None:
    file.write_text(ApiKey("acme", digest_of("secret"), expires_s=NOW_S + 60).line())
    async with callers_of(file) as callers:
        assert await callers.partner("secret") == "partners:acme"
        callers.clock.advance(60)
        assert "expired" in await callers.refused(("X-Api-Key", "secret"))


async def test_a_file_that_is_broken_changes_nothing_and_is_named_at_the_start(
    file: Path,
) -> None:
    key = made(file, "acme")
    whole = file.read_text()
    with structlog.testing.capture_logs() as log_lines:
        async with callers_of(file) as callers:
            for broken in ("acme", f"{whole}acme sha256:12", f"{whole}x sha256:{'0' * 64} scopes=a", "\xff"):
                file.write_bytes(broken.encode("latin-1"))
                assert await callers.partner(key) == "partners:acme"
            file.unlink()
            assert await callers.partner(key) == "partners:acme"
    assert any("what it held before is used" in line["event"] for line in log_lines)
    file.write_text(f"{whole}acme sha256:12 scope=a")
    with pytest.raises(SettingsError, match=r"SAGAGEN_API_KEYS_FILE: .*line 4: behind the name stands"):
        async with callers_of(file):
            pass


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["acme"], "line 1: behind the name"),
        (["# a comment", "", "acme sha256:" + "0" * 63], "line 3: behind the name"),
        (["a/b sha256:" + "0" * 64], "line 1: 'a/b' is no name"),
        (["a sha256:" + "0" * 64, "b sha256:" + "0" * 64], "line 2: it is the key of a already"),
        (["a sha256:" + "0" * 64 + " expires=tomorrow"], "'tomorrow' is no time"),
        (["a sha256:" + "0" * 64 + " expires=2027-01-31"], "is no time"),
        (["a sha256:" + "0" * 64 + ' scope="a"'], "is no scope"),
        (
            ["a sha256:" + "0" * 64 + " scheme=partner"],
            "no scheme 'partner' takes API keys; there are: partners",
        ),
        (["a sha256:" + "0" * 64 + " admin=yes"], "'admin' is unknown"),
    ],
)
def test_a_line_that_is_wrong_is_named(lines: Sequence[str], why: str) -> None:
    with pytest.raises(ValueError, match=r"^line ") as error:
        parse("\n".join(lines).encode(), ["partners"])
    assert why in str(error.value)
    assert "0" * 10 not in str(error.value), "not even a hash is repeated"


def test_a_lookup_takes_as_long_for_any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """By construction: one hash and one MAC, and never a comparison with a key of the file that is not the one."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("sagagen.runtime.access.api_keys.hmac.compare_digest", compare)
    file = KeyFile(ApiKey(str(number), digest_of(str(number))) for number in range(1000))
    assert file.find("nobody") is None
    assert compared == []
    assert (found := file.find("999"))
    assert (found.name, compared) == ("999", [digest_of("999")])
    other = KeyFile(file.keys)
    assert vars(file)["_by_mac"].keys().isdisjoint(vars(other)["_by_mac"].keys()), (
        "each process has its own order"
    )
    assert repr(file) == "KeyFile(1000 keys)"


def test_the_command_shows_a_key_once(file: Path) -> None:
    key = made(file, "acme", "--scope", "a.b", "--expires", "90d")
    assert key.startswith("sgk_")
    assert key not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    listed = keys(file, "list")
    assert key not in listed.output
    assert "acme" in listed.stdout
    (member,) = json.loads(keys(file, "list", "--json").stdout)
    assert (member["name"], member["scopes"], member["hash"]) == ("acme", ["a.b"], digest_of(key).hex())
    file.write_text(file.read_text().rstrip("\n"))  # as some editors leave it
    made(file, "other")
    assert len(parse(file.read_bytes()).keys) == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("a b",), "no name of a key"),
        (("x", "--scope", "a b"), "no scope"),
        (("x", "--expires", "90"), "write 90d"),
        (("x", "--expires", "2020-01-01"), "has passed"),
    ],
)
def test_what_can_be_no_key_is_not_written(words: Sequence[str], why: str, file: Path) -> None:
    done = keys(file, "new", *words)
    assert (done.exit_code, why in done.stderr) == (2, True), done.output
    assert not file.exists()
