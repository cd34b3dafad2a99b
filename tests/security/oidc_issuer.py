"""An OpenID provider on this machine: discovery, keys, and tokens, good ones and others."""

import hashlib
import hmac
import json
import threading
import time
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from waiting import LIMIT_S

AUDIENCE = "shop"
_PATIENT = JWSRegistry(
    algorithms=["ES256", "ES384", "RS256", "PS256", "EdDSA", "HS256"], strict_check_header=False
)


class Issuer:
    """What it answers can be changed while it runs."""

    def __init__(self, port: int, now_s: int | None = None) -> None:
        """`now_s`: its clock stands still."""
        self.now_s = now_s
        self.url = f"http://127.0.0.1:{port}"
        self.says_issuer = self.url
        self.keys: dict[str, Any] = {"k1": key("k1")}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.jwks: bytes | None = None
        """In place of the keys."""
        self.jwks_uri = f"{self.url}/keys"
        self.may_answer, self.is_asked = threading.Event(), threading.Event()
        self.may_answer.set()
        self.now_s = 0
        """When it issues tokens, in seconds since the epoch; 0: now."""
        self.asked: list[str] = []
        """Paths, in the order in which they were asked for."""

    def answer(self, path: str) -> bytes:
        self.asked.append(path)
        if not self.may_answer.is_set():
            self.is_asked.set()
            self.may_answer.wait(LIMIT_S)
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.says_issuer, "jwks_uri": self.jwks_uri}).encode()
        return self.key_set if self.jwks is None else self.jwks

    @property
    def key_set(self) -> bytes:
        entries = [{**each.as_dict(private=False), "kid": kid} for kid, each in self.keys.items()]
        return json.dumps({"keys": entries}).encode()

    @property
    def fetches(self) -> int:
        """How often its keys were asked for."""
        return self.asked.count("/keys")

    def token(self, *, by: str = "k1", header: Mapping[str, Any] | None = None, **claims: object) -> str:
        """A token of `ann`, good for ten minutes; a claim that is None is left out, and a header as well."""
        head = {"alg": "ES256", "kid": by, "typ": "JWT", **(header or {})}
        return signed(head, self.claims(**claims), self.keys.get(by) or key(by))

    def claims(self, **claims: object) -> dict[str, object]:
        now = self.now_s or int(time.time())
        said: dict[str, object] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann",
            "iat": now,
            "exp": now + 600,
            "scope": "orders.read orders.write",
            **claims,
        }
        return {name: value for name, value in said.items() if value is not None}


@cache
def key(name: str) -> Any:
    """One and the same for a name: made once."""
    if name.startswith("rsa"):
        return RSAKey.generate_key(2048)
    if name.startswith("ed"):
        return OKPKey.generate_key("Ed25519")
    return ECKey.generate_key("P-384" if name.startswith("p384") else "P-256")


def signed(header: Mapping[str, Any], claims: Mapping[str, object], by: Any) -> str:
    head = {name: value for name, value in header.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that EdDSA has another name since RFC 9864
        return jws.serialize_compact(head, json.dumps(claims), by, registry=_PATIENT)


def unsigned(header: Mapping[str, Any], claims: Mapping[str, object], signature: bytes = b"") -> str:
    """A token with whatever in its place."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def hs256(header: Mapping[str, Any], claims: Mapping[str, object], secret: bytes) -> str:
    """Signed by a shared secret, whatever that is."""
    text = unsigned(header, claims).rpartition(".")[0]
    mac = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@contextmanager
def oidc_issuer(now_s: int | None = None) -> Generator[Issuer]:
    """It listens until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuer.answer(self.path)
            self.send_response(issuer.status)
            for name, value in issuer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(server.server_port, now_s)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
