"""Tokens that nobody should believe, and the keys by which the others are: against a real issuer on this machine."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from oidc_issuer import AUDIENCE, Issuer, hs256, key, oidc_issuer, signed, unsigned
from small_mesh import ManualClock
from starlette.datastructures import Headers
from waiting import eventually_async

from sagagen.runtime.access.identity import CannotTell, Identity, Unauthenticated
from sagagen.runtime.access.issuer import AGAIN_S, STALE_S, IssuerKeys
from sagagen.runtime.access.key_set import parse
from sagagen.runtime.access.schemes import Schemes
from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.model.security import ApiKeyScheme, ClaimType, OidcScheme, Security
from sagagen.runtime.startup import SettingsError

NOW = 1_800_000_000
CLAIMS: Mapping[str, ClaimType] = {
    "tenant": "string",
    "staff": "bool",
    "level": "int",
    "groups": "list(string)",
}


class Callers:
    """The scheme `customers` of an issuer, and `partners`, which takes keys; time is the test's."""

    def __init__(self, schemes: Schemes, clock: ManualClock) -> None:
        self.schemes = schemes
        self.clock = clock
        self._anybody = schemes.by(("customers", "partners"))

    async def who(self, token: str | None, *others: tuple[str, str]) -> Identity:
        shown = others if token is None else [("authorization", f"Bearer {token}"), *others]
        return await self._anybody.identity(
            Headers(raw=[(name.encode(), value.encode()) for name, value in shown])
        )

    async def problem(self) -> str:
        """What /readyz says of the issuer's keys."""
        return await self.schemes.checks["callers of customers"]()

    async def are_known(self) -> None:
        await eventually_async("the keys of the issuer", self.problem, lambda problem: not problem)


def security_of(issuer: str) -> Security:
    algorithms = ("ES256", "RS256", "EdDSA")
    return Security(
        (
            OidcScheme("customers", issuer, AUDIENCE, algorithms, claims=CLAIMS),
            ApiKeyScheme("partners", "X-Api-Key"),
        ),
        default=("customers", "partners"),
    )


@asynccontextmanager
async def callers_of(
    issuer: Issuer, folder: Path, *, waits: bool = True, key_sets: Mapping[str, Path] | None = None
) -> AsyncGenerator[Callers]:
    """`waits`: until the issuer's keys are here."""
    files = AccessFiles(folder / "api-keys", is_api_keys_set=False, key_sets=key_sets or {})
    clock = ManualClock(ms=NOW * 1000)
    issuer.now_s = NOW  # since this was imported a minute may have passed
    async with Schemes.opened(security_of(issuer.url), files, clock) as schemes:
        callers = Callers(schemes, clock)
        if waits:
            await callers.are_known()
        yield callers


def _public_bytes(issuer: Issuer) -> bytes:
    return issuer.keys["k1"].as_pem(private=False)


ATTACKS: Mapping[str, tuple[Callable[[Issuer], str], str]] = {
    "alg none": (lambda i: unsigned({"alg": "none", "kid": "k1"}, i.claims(), b"x"), "algorithm"),
    "alg none, without a signature": (lambda i: unsigned({"alg": "none"}, i.claims()), "no signed token"),
    "alg nOnE": (lambda i: unsigned({"alg": "nOnE", "kid": "k1"}, i.claims(), b"x"), "algorithm"),
    "alg HS256 by the public key as PEM": (
        lambda i: hs256({"alg": "HS256", "kid": "k1"}, i.claims(), _public_bytes(i)),
        "algorithm",
    ),
    "alg HS256 by the key set": (
        lambda i: hs256({"alg": "HS256", "kid": "k1"}, i.claims(), i.key_set),
        "algorithm",
    ),
    "an algorithm that the contract does not name": (
        lambda i: signed({"alg": "ES384", "kid": "p384"}, i.claims(), key("p384")),
        "algorithm",
    ),
    "RS256 with the id of an EC key": (
        lambda i: signed({"alg": "RS256", "kid": "k1"}, i.claims(), key("rsa")),
        "key that the issuer does not have",
    ),
    "ES256 with HS256's signature": (
        lambda i: hs256({"alg": "ES256", "kid": "k1"}, i.claims(), _public_bytes(i)),
        "signature",
    ),
    "no alg": (lambda i: unsigned({"kid": "k1"}, i.claims(), b"x"), "names no algorithm"),
    "a list as alg": (lambda i: unsigned({"alg": ["ES256"], "kid": "k1"}, i.claims(), b"x"), "algorithm"),
    "a signature of zeros": (
        lambda i: unsigned({"alg": "ES256", "kid": "k1"}, i.claims(), bytes(64)),
        "signature",
    ),
    "an empty signature": (lambda i: i.token().rpartition(".")[0] + ".", "no signed token"),
    "a payload that was exchanged": (
        lambda i: _exchanged(i.token(), i.claims(sub="bob")),
        "signature",
    ),
    "a key of somebody else under a known id": (
        lambda i: signed({"alg": "ES256", "kid": "k1"}, i.claims(), key("other")),
        "signature",
    ),
    "an unknown kid": (
        lambda i: signed({"alg": "ES256", "kid": "k9"}, i.claims(), key("other")),
        "key that the issuer does not have",
    ),
    "a kid that is a path": (
        lambda i: signed({"alg": "ES256", "kid": "../../../dev/null"}, i.claims(), key("other")),
        "key that the issuer does not have",
    ),
    "a kid that is SQL": (
        lambda i: signed({"alg": "ES256", "kid": "' OR '1'='1"}, i.claims(), key("other")),
        "key that the issuer does not have",
    ),
    "a kid that is no text": (lambda i: unsigned({"alg": "ES256", "kid": 1}, i.claims(), b"x"), "no key"),
    "a key in its own header": (
        lambda i: signed(
            {"alg": "ES256", "kid": "k9", "jwk": key("other").as_dict(private=False)},
            i.claims(),
            key("other"),
        ),
        "key that the issuer does not have",
    ),
    "jku and x5u": (
        lambda i: signed(
            {"alg": "ES256", "kid": "k9", "jku": f"{i.url}/evil", "x5u": f"{i.url}/evil"},
            i.claims(),
            key("other"),
        ),
        "key that the issuer does not have",
    ),
    "an extension that nobody knows": (
        lambda i: unsigned({"alg": "ES256", "kid": "k1", "crit": ["exp2"], "exp2": 1}, i.claims(), b"x"),
        "crit",
    ),
    "detached payload": (
        lambda i: unsigned({"alg": "ES256", "kid": "k1", "b64": False, "crit": ["b64"]}, i.claims(), b"x"),
        "crit",
    ),
    "another typ": (lambda i: i.token(header={"typ": "logout+jwt"}), "typ"),
    "wrong issuer": (lambda i: i.token(iss="https://evil.example"), "iss"),
    "no issuer": (lambda i: i.token(iss=None), "iss"),
    "an issuer with a slash more": (lambda i: i.token(iss=i.url + "/"), "iss"),
    "a list as issuer": (lambda i: i.token(iss=[i.url]), "iss"),
    "wrong audience": (lambda i: i.token(aud="bank"), "aud"),
    "no audience": (lambda i: i.token(aud=None), "aud"),
    "a list of other audiences": (lambda i: i.token(aud=["bank", "shop2"]), "aud"),
    "an audience within an object": (lambda i: i.token(aud={"shop": 1}), "aud"),
    "expired": (lambda i: i.token(exp=NOW - 61), "expired"),
    "no exp": (lambda i: i.token(exp=None), "exp"),
    "exp is a text": (lambda i: i.token(exp=str(NOW + 600)), "exp"),
    "exp is true": (lambda i: i.token(exp=True), "exp"),
    "exp is endless": (lambda i: i.token(exp=1e300), "exp"),
    "exp is NaN": (lambda i: i.token(exp=float("nan")), "exp"),
    "not yet valid": (lambda i: i.token(nbf=NOW + 120), "nbf"),
    "issued in the future": (lambda i: i.token(iat=NOW + 120), "iat"),
    "no subject": (lambda i: i.token(sub=None), "sub"),
    "an empty subject": (lambda i: i.token(sub=""), "sub"),
    "a number as subject": (lambda i: i.token(sub=1), "sub"),
    "half a surrogate pair as subject": (lambda i: i.token(sub="\ud800"), "sub"),
    "nobody in particular as subject": (lambda i: i.token(sub="anonymous"), "anonymous"),
    "an id of another scheme as subject": (lambda i: i.token(sub="partners:acme"), "another scheme's"),
    "a subject that no service can be told": (lambda i: i.token(sub="x" * 1025), "1024 bytes"),
    "a claim of another type": (lambda i: i.token(groups="ops"), "groups"),
    "a claim of another type in a list": (lambda i: i.token(groups=["ops", 1]), "groups"),
    "true as a number": (lambda i: i.token(level=True), "level"),
    "claims that no service can be told": (lambda i: i.token(tenant="x" * 2050), "2048"),
    "a huge token": (lambda i: i.token(other="x" * 9000), "8192 bytes"),
    "a deep payload": (lambda i: unsigned_text('{"alg":"ES256","kid":"k1"}', "[" * 3000), "no JSON"),
    "a header that is no object": (lambda i: unsigned_text("[]", "{}"), "no JSON object"),
    "five parts (JWE)": (lambda i: i.token() + ".x.y", "no signed token"),
    "a quote at its end": (lambda i: i.token() + '"', "no signed token"),
    "a comma and another token": (lambda i: f"{i.token()},{i.token()}", "no signed token"),
    "no text at all": (lambda i: "", "form `Bearer TOKEN`"),
    "padding": (lambda i: i.token() + "=", "no signed token"),
}


def _exchanged(token: str, claims: Mapping[str, object]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{unsigned({}, claims).split('.')[1]}.{signature}"


def unsigned_text(header: str, payload: str) -> str:
    parts = (header.encode(), payload.encode(), b"x")
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_tokens_of_attackers_are_not_believed(tmp_path: Path) -> None:
    with oidc_issuer(NOW) as issuer:
        async with callers_of(issuer, tmp_path) as callers:
            assert (await callers.who(issuer.token())).caller == "ann", "all others are changes of this one"
            for name, (attack, why) in ATTACKS.items():
                with pytest.raises(Unauthenticated) as refused:
                    await callers.who(attack(issuer))
                assert why in str(refused.value), (name, str(refused.value))
                assert len(str(refused.value)) < 200, name
                assert refused.value.challenges[0] == 'Bearer realm="gateway", error="invalid_token"', name
        assert {"/.well-known/openid-configuration", "/keys"} == set(issuer.asked), "nothing else is fetched"
        assert issuer.fetches == 2, "unknown keys make the issuer asked once a minute"


async def test_whom_a_token_makes_of_its_bearer(tmp_path: Path) -> None:
    with oidc_issuer(NOW) as issuer:
        issuer.keys |= {"rsa": key("rsa"), "ed": key("ed")}
        async with callers_of(issuer, tmp_path) as callers:
            plain = await callers.who(issuer.token(exp=NOW + 600))
            assert plain.scopes == {"orders.read", "orders.write"}
            assert plain.claims == {"tenant": "", "staff": False, "level": 0, "groups": ()}
            assert (plain.scheme, plain.expires_s) == ("customers", NOW + 660)
            told: dict[str, Any] = {"tenant": "größe", "staff": True, "level": -3, "groups": ["a", "b"]}
            rich = await callers.who(issuer.token(aud=["x", AUDIENCE], scope=None, scp=["r", "w"], **told))
            assert rich.claims == told | {"groups": ("a", "b")}
            assert rich.scopes == {"r", "w"}
            for good in (
                issuer.token(by="rsa", header={"alg": "RS256"}),
                issuer.token(by="ed", header={"alg": "EdDSA"}),
                issuer.token(header={"typ": "at+JWT"}),
                issuer.token(header={"jku": f"{issuer.url}/evil"}),
                issuer.token(exp=NOW - 30, nbf=NOW + 30, iat=NOW + 30),  # clocks differ
            ):
                assert (await callers.who(good)).caller == "ann", good
        assert "/evil" not in issuer.asked


async def test_a_token_is_good_until_it_expires_however_often_it_was_believed(tmp_path: Path) -> None:
    with oidc_issuer(NOW) as issuer:
        async with callers_of(issuer, tmp_path) as callers:
            token = issuer.token(exp=NOW + 600)
            for second in (0, 599, 659):
                callers.clock.ms = (NOW + second) * 1000
                assert await callers.who(token)
            callers.clock.ms = (NOW + 660) * 1000
            for _ in range(2):
                with pytest.raises(Unauthenticated, match="expired"):
                    await callers.who(token)


async def test_a_key_that_was_rotated_out_signs_no_more(tmp_path: Path) -> None:
    """Also for tokens that were believed before; and a new key is known once a token has it."""
    with oidc_issuer(NOW) as issuer:
        async with callers_of(issuer, tmp_path) as callers:
            old = issuer.token()
            assert await callers.who(old)
            issuer.keys = {"k2": key("k2")}
            assert (await callers.who(issuer.token(by="k2"))).caller == "ann"
            with pytest.raises(Unauthenticated, match="key that the issuer does not have"):
                await callers.who(old)
            assert issuer.fetches == 2
            issuer.keys = {"k3": key("k3")}
            with pytest.raises(Unauthenticated, match="key that the issuer does not have"):
                await callers.who(issuer.token(by="k3"))
            assert issuer.fetches == 2, "the issuer was asked a moment ago"
            callers.clock.advance(AGAIN_S)
            asked = [callers.who(issuer.token(by="k3", n=n)) for n in range(20)]
            assert {each.caller for each in await asyncio.gather(*asked)} == {"ann"}
            assert issuer.fetches == 3, "all of them wait for one answer"


async def test_whoever_has_a_known_key_does_not_wait_for_the_issuer(tmp_path: Path) -> None:
    with oidc_issuer(NOW) as issuer:
        async with callers_of(issuer, tmp_path) as callers:
            issuer.may_answer.clear()
            unknown = asyncio.create_task(callers.who(issuer.token(by="k9")))
            await asyncio.to_thread(issuer.is_asked.wait)
            assert (await callers.who(issuer.token())).caller == "ann"
            assert not unknown.done()
            issuer.may_answer.set()
            with pytest.raises(Unauthenticated):
                await unknown


ISSUERS_OF_NO_USE: Sequence[tuple[dict[str, Any], str]] = [
    ({"status": 503}, "answers 503"),
    ({"status": 302, "headers": {"location": "http://169.254.169.254/"}}, "answers 302"),
    ({"says_issuer": "https://evil.example"}, "another issuer"),
    ({"jwks_uri": "http://keys.example/keys"}, "no jwks_uri with https"),
    ({"jwks_uri": "file:///etc/passwd"}, "no jwks_uri with https"),
    ({"jwks": b"{}"}, "no JWK Set"),
    ({"jwks": b"[" * 100_000}, "no JSON"),
    ({"jwks": b" " * 300_000}, "more than 262144 bytes"),
    ({"jwks": json.dumps({"keys": [{}] * 101}).encode()}, "101 keys"),
    (
        {"jwks": json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]}).encode()},
        "none of its keys",
    ),
    ({"headers": {"content-encoding": "gzip"}}, "packed"),
]


async def test_until_keys_are_here_nobody_can_be_known(tmp_path: Path) -> None:
    """503 and not 401: the token may be good. It heals by itself."""

    async def check(number: int, change: dict[str, Any], why: str) -> None:
        with oidc_issuer(NOW) as issuer:
            before = {name: getattr(issuer, name) for name in change}
            vars(issuer).update(change)
            async with callers_of(issuer, tmp_path / str(number), waits=False) as callers:
                await eventually_async(why, callers.problem, lambda problem: why in problem)
                with pytest.raises(CannotTell) as unknown:
                    await callers.who(issuer.token())
                assert unknown.value.retry_after_s > 0
                vars(issuer).update(before)
                await callers.are_known()
                assert (await callers.who(issuer.token())).caller == "ann"

    async with asyncio.TaskGroup() as checks:
        for number, (change, why) in enumerate(ISSUERS_OF_NO_USE):
            checks.create_task(check(number, change, why))


async def test_keys_outlive_an_issuer_that_is_away_but_for_a_day(tmp_path: Path) -> None:
    with oidc_issuer(NOW) as issuer:
        async with callers_of(issuer, tmp_path) as callers:
            issuer.status = 500
            with pytest.raises(CannotTell, match="does not say whether it has the key"):
                await callers.who(issuer.token(by="k9"))
            assert (await callers.who(issuer.token())).caller == "ann"
            assert await callers.problem() == ""
            callers.clock.monotonic += STALE_S + 1
            with pytest.raises(CannotTell, match="for a day"):
                await callers.who(issuer.token())


async def test_keys_of_a_file_ask_nobody_and_change_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    with oidc_issuer(NOW) as issuer:
        file.write_bytes(issuer.key_set)
        async with callers_of(issuer, tmp_path, key_sets={"customers": file}) as callers:
            old = issuer.token()
            assert (await callers.who(old)).caller == "ann"
            file.write_text("{")
            with pytest.raises(Unauthenticated):
                await callers.who(issuer.token(by="k2"))
            assert (await callers.who(old)).caller == "ann", "a broken file leaves the keys as they were"
            issuer.keys = {"k2": key("k2")}
            file.write_bytes(issuer.key_set)
            assert (await callers.who(issuer.token(by="k2"))).caller == "ann", "looked at for an unknown key"
            with pytest.raises(Unauthenticated):
                await callers.who(old)
        assert issuer.asked == []
        file.write_text("{}")
        with pytest.raises(SettingsError, match=r"SAGAGEN_JWKS_FILE_CUSTOMERS: .*no JWK Set"):
            async with callers_of(issuer, tmp_path, key_sets={"customers": file}):
                pass


def test_which_keys_are_taken_of_a_set() -> None:
    ec, rsa = key("k1").as_dict(private=True), key("rsa").as_dict(private=False)
    weak = {**rsa, "n": rsa["n"][:171]}
    entries = [
        {**ec, "kid": "private"},
        {**ec, "kid": "encrypts", "use": "enc"},
        {**ec, "kid": "signs-only", "key_ops": ["sign"]},
        {**ec, "kid": "other-alg", "alg": "ES384"},
        {**ec, "kid": "off-curve", "y": ec["x"]},
        {**ec, "kid": "bitcoin", "crv": "secp256k1"},
        {**weak, "kid": "weak"},
        {**rsa, "kid": "ps-only", "alg": "PS256"},
        {**rsa, "kid": 7},
        "no key",
    ]
    found = {each.id: each for each in parse(json.dumps({"keys": entries}).encode()).keys}
    assert found.keys() == {"private", "ps-only"}
    assert "d" not in found["private"].key.as_dict(), "what is private is left out"
    assert found["ps-only"].algorithms == {"PS256"}


def test_a_token_without_kid_needs_a_key_that_is_alone() -> None:
    entries = [{**key(name).as_dict(private=False), "kid": name} for name in ("k1", "rsa")]
    one = parse(json.dumps({"keys": entries}).encode())
    found = one.find("", "ES256")
    assert found
    assert found.id == "k1"
    entries.append({**key("k2").as_dict(private=False), "kid": "k2"})
    assert parse(json.dumps({"keys": entries}).encode()).find("", "ES256") is None


def test_an_issuer_that_anybody_on_the_way_can_speak_for_is_refused() -> None:
    with pytest.raises(SettingsError, match="without TLS"):
        IssuerKeys("http://id.example", cast(Any, None), time.monotonic)
