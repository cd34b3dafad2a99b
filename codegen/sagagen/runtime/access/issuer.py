"""Where the keys of an issuer come from: from the issuer itself (OpenID Connect Discovery 1.0), or from a file.

Keys are fetched by a task in the background, at the start and every few minutes, so a request whose token is signed by
a known key never waits. A token with an unknown key makes the issuer asked again, at most once a minute, once for all
who wait; so new keys are known soon, and nobody makes this gateway ask all the time.
"""

import asyncio
import json
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

import httpx
import structlog

from sagagen.runtime.access import key_set
from sagagen.runtime.access.identity import CannotTell
from sagagen.runtime.access.key_set import KeySet
from sagagen.runtime.secret_file import SecretFile
from sagagen.runtime.startup import SettingsError

REFRESH_S = 300.0
"""Time in seconds between two looks at an issuer's keys. A key that was rotated out is believed for as long."""
AGAIN_S = 60.0
"""An unknown key makes the issuer asked again at most this often, in seconds."""
STALE_S = 24 * 3600.0
"""Keys that could not be fetched again for so long, in seconds, are believed no more."""
FETCH_S = 10.0
"""Time in seconds that fetching the keys may take."""
FIRST_WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between attempts, in seconds, while there are no keys at all; then always the last one."""
RETRY_AFTER_S = 5.0
MAX_DISCOVERY_BYTES = 64 * 1024

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Unreachable(Exception):
    """No keys came from an issuer; the text says why."""


class Keys(Protocol):
    """The keys that tokens of one scheme are signed with."""

    def current(self) -> KeySet:
        """As they are known now; the same object until they change. Raises CannotTell while there are none."""
        ...

    async def look_again(self) -> None:
        """Ask for newer ones, unless that was done a moment ago.

        Raises CannotTell if they could not be had: whether an unknown key is the issuer's, nobody knows then.
        """
        ...

    async def check(self) -> str:
        """Of /readyz: why there are none; empty if there are."""
        ...


class FileKeys:
    """Keys in a file, for a gateway that reaches no issuer. It is read again when it changes."""

    def __init__(self, path: Path, variable: str) -> None:
        """Raises SettingsError for a file that can't be read, or is no JWK Set."""
        self._file: SecretFile[KeySet] = SecretFile(path, variable, key_set.parse)

    def current(self) -> KeySet:
        """As Keys says; at most a second old."""
        return self._file.content()

    async def look_again(self) -> None:
        """As Keys says."""
        self._file.look_again()

    async def check(self) -> str:
        """As Keys says."""
        return ""


class IssuerKeys:
    """Keys that are fetched from an issuer. Opened by `opened`."""

    def __init__(self, issuer: str, client: httpx.AsyncClient, monotonic_s: Callable[[], float]) -> None:
        """Raises SettingsError for an issuer that somebody on the way could speak for."""
        if not is_safe(issuer):
            raise SettingsError(f'the issuer "{issuer}" is reached without TLS: only one on localhost may be')
        self._issuer = issuer
        self._client = client
        self._monotonic_s = monotonic_s
        self._keys: KeySet | None = None
        self._fetched_s = -math.inf
        self._asked_s = -math.inf
        """When an unknown key made the issuer asked."""
        self._problem = "not asked yet"
        self._fetching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Keep the keys up to date until the block is left."""
        # No TaskGroup: what ends the block, such as a port that is taken, has to leave it as it is. No task raises.
        refreshing = asyncio.create_task(self._refresh(), name=f"keys of {self._issuer}")
        try:
            yield
        finally:
            tasks = [task for task in (refreshing, self._fetching) if task]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def current(self) -> KeySet:
        """As Keys says."""
        if self._keys is None:
            why = f"the keys of {self._issuer} are not here yet, so nobody can be known by its tokens"
            raise CannotTell(f"{why}; send this again a little later", RETRY_AFTER_S)
        if self._monotonic_s() - self._fetched_s > STALE_S:
            why = f"the keys of {self._issuer} could not be fetched for a day, and are believed no more"
            raise CannotTell(f"{why}; send this again a little later", RETRY_AFTER_S)
        return self._keys

    async def look_again(self) -> None:
        """As Keys says. Whoever waits is not the one who asks: a client that hangs up stops nothing."""
        now_s = self._monotonic_s()
        if self._fetching is None and now_s - self._asked_s >= AGAIN_S:
            self._asked_s = now_s
            self._fetch_apart()
        if self._fetching:
            await asyncio.wait({self._fetching}, timeout=FETCH_S)
        if self._problem:
            why = f"{self._issuer} does not say whether it has the key of this token"
            raise CannotTell(f"{why}; send this again a little later", RETRY_AFTER_S)

    async def check(self) -> str:
        """As Keys says."""
        return "" if self._keys else f"no keys of {self._issuer}: {self._problem}"

    async def _refresh(self) -> None:
        attempt = 0
        while True:
            await asyncio.wait({self._fetch_apart()})
            if self._keys:
                wait_s = REFRESH_S
            else:
                wait_s = FIRST_WAITS_S[min(attempt, len(FIRST_WAITS_S) - 1)]
                attempt += 1
            await asyncio.sleep(wait_s)

    def _fetch_apart(self) -> "asyncio.Task[None]":
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name=f"fetch keys of {self._issuer}")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                found = await fetch(self._issuer, self._client)
        except (Unreachable, TimeoutError) as error:
            self._failed(str(error) or f"no answer within {FETCH_S:g} s")
        except Exception as error:  # whatever it is, the keys that are here stay good
            _logger.exception("fetching an issuer's keys failed", issuer=self._issuer)
            self._failed(type(error).__name__)
        else:
            self._fetched(found)
        finally:
            self._fetching = None

    def _failed(self, problem: str) -> None:
        if problem != self._problem:
            _logger.warning("an issuer's keys can't be fetched", issuer=self._issuer, why=problem)
        self._problem = problem

    def _fetched(self, found: KeySet) -> None:
        self._fetched_s, self._problem = self._monotonic_s(), ""
        if self._keys is None or self._keys.content != found.content:
            ids = [key.id for key in found.keys]
            _logger.info("an issuer's keys are known", issuer=self._issuer, keys=ids)
            self._keys = found


async def fetch(issuer: str, client: httpx.AsyncClient) -> KeySet:
    """The keys of an issuer, by its discovery document. Raises Unreachable."""
    where = issuer.removesuffix("/") + "/.well-known/openid-configuration"
    content = await _get(client, where, MAX_DISCOVERY_BYTES)
    document: object = None
    with suppress(ValueError, RecursionError):
        document = json.loads(content)
    if not isinstance(document, dict):
        raise Unreachable(f"{where} is no JSON object")
    said = cast(dict[str, object], document)
    if said.get("issuer") != issuer:
        raise Unreachable(f"{where} is of another issuer: {str(said.get('issuer'))[:200]!a}")
    address = said.get("jwks_uri")
    if not isinstance(address, str) or not is_safe(address):
        raise Unreachable(f"{where} has no jwks_uri with https")
    keys = await _get(client, address, key_set.MAX_BYTES)
    try:
        return key_set.parse(keys)
    except ValueError as error:
        raise Unreachable(f"{address}: {error}") from error


async def _get(client: httpx.AsyncClient, url: str, at_most: int) -> bytes:
    found = bytearray()
    try:
        async with client.stream("GET", url) as response:
            if response.status_code != 200:
                raise Unreachable(f"{url} answers {response.status_code}")
            # As it is on the wire: a small answer that unpacks to a large one would not be bounded.
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Unreachable(f"{url} is packed, which was not asked for")
            async for part in response.aiter_raw():
                found += part
                if len(found) > at_most:
                    raise Unreachable(f"{url} has more than {at_most} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"{url}: {str(error) or type(error).__name__}") from error
    return bytes(found)


def client() -> httpx.AsyncClient:
    """What asks issuers: no redirects, and nothing packed."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each request
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    return httpx.AsyncClient(timeout=FETCH_S / 2, headers=headers)


def is_safe(url: str) -> bool:
    """Whether nobody on the way can answer in its place."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        return False
