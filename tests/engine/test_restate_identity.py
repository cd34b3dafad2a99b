"""An adapter believes who signs as Restate does, by the key that it was given, and nobody else."""

import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from json import dumps
from pathlib import Path

import httpx
import pytest
import restate_server
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from engine_world import World
from restate_server import RestateServer
from small_mesh import ManualClock, usual_saga

from sagagen.runtime.addresses import Address
from sagagen.runtime.clock import Grace
from sagagen.runtime.restate.adapter import Adapter, register
from sagagen.runtime.restate.client import RestateClient
from sagagen.runtime.restate.replies import Replies

RIGHT, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DISCOVERY = {"accept": "application/vnd.restate.endpointmanifest.v4+json"}


def public(key: Ed25519PrivateKey) -> str:
    """As Restate prints it at its start, and SAGAGEN_ENGINE_IDENTITY_KEY has it."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    number, text = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return f"publickeyv1_{'1' * (len(raw) - len(raw.lstrip(bytes(1))))}{text}"


def signed(key: Ed25519PrivateKey, path: str, *, until_s: float = 60.0) -> Mapping[str, str]:
    """A JSON web token by EdDSA, for this path and a short time."""
    now = int(time.time())
    head = {"alg": "EdDSA", "typ": "JWT", "kid": public(key)}
    claims = {"aud": path, "iat": now - 120, "nbf": now - 120, "exp": now + int(until_s)}
    said = b".".join(urlsafe_b64encode(dumps(each).encode()).rstrip(b"=") for each in (head, claims))
    token = said + b"." + urlsafe_b64encode(key.sign(said)).rstrip(b"=")
    return {"x-restate-signature-scheme": "v1", "x-restate-jwt-v1": token.decode()}


@asynccontextmanager
async def adapter(key: Ed25519PrivateKey) -> AsyncGenerator[str]:
    clock = ManualClock()
    made = Adapter(
        "signed",
        [usual_saga()],
        {"one": World(clock)},
        replies=Replies(),
        calls_per_service=8,
        keys=[public(key)],
    )
    async with made.listening(Address("127.0.0.1", 0), Grace(1.0)) as port:
        yield f"http://127.0.0.1:{port}"


async def test_a_request_is_taken_from_who_has_the_key_for_what_they_signed(tmp_path: Path) -> None:
    tries: dict[str, tuple[Mapping[str, str], int]] = {
        "signed": (signed(RIGHT, "/discover"), 200),
        "not signed": ({}, 401),
        "by another key": (signed(OTHER, "/discover"), 401),
        "for another path": (signed(RIGHT, "/invoke/signed.place/run"), 401),
        "some time ago": (signed(RIGHT, "/discover", until_s=-90.0), 401),
    }
    async with adapter(RIGHT) as url, httpx.AsyncClient(http1=False, http2=True) as client:
        for what, (headers, status) in tries.items():
            answer = await client.get(f"{url}/discover", headers={**_DISCOVERY, **headers})
            assert answer.status_code == status, what
        unsigned = await client.post(f"{url}/invoke/signed.place/run", headers=_DISCOVERY)
        assert unsigned.status_code == 401
        assert (await client.get(f"{url}/health")).status_code == 200, "which tells nobody anything"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestateServer]:
    if why := restate_server.missing():
        pytest.skip(why)
    pem = tmp_path / "identity.pem"
    pem.write_bytes(RIGHT.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with RestateServer(identity=pem) as started:
        yield started


async def test_a_server_with_the_key_gets_in_and_one_with_another_does_not(server: RestateServer) -> None:
    admin = RestateClient([server.admin])
    try:
        async with adapter(RIGHT) as url:
            assert await register(admin, url) == ""
        async with adapter(OTHER) as url:
            assert "401" in await register(admin, url)
    finally:
        admin.close()
