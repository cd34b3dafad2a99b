"""The schemes of a contract at work: who shows a token or a key is somebody, and nobody else is.

Within a mesh no two callers have the same id. The first scheme's callers have their ids as they are; those of another
one have its name in front, `partners:acme`, and no token of the first may speak of such an id
(docs/decisions/213-one-id-one-caller.md).
"""

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sagagen.runtime.access import api_keys, issuer, token
from sagagen.runtime.access.api_keys import KeyFile
from sagagen.runtime.access.identity import Authenticator, CannotTell, Headers, Identity, Unauthenticated
from sagagen.runtime.access.issuer import FileKeys, IssuerKeys, Keys
from sagagen.runtime.access.key_set import ALGORITHMS, KeySet
from sagagen.runtime.access.token import NotBelieved, Token
from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.clock import Clock
from sagagen.runtime.health import Check
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.model.definition import MAX_CALLER_BYTES
from sagagen.runtime.model.security import ApiKeyScheme, OidcScheme, Security
from sagagen.runtime.rpc.caller_claims import canonical
from sagagen.runtime.secret_file import SecretFile
from sagagen.runtime.startup import SettingsError

REMEMBERED = 4096
"""Tokens whose signature is not checked again while they are good."""
REALM = "gateway"

_BEARER = re.compile(r"bearer +(\S*)", re.IGNORECASE)


class OidcCallers:
    """Knows callers by tokens of one issuer."""

    def __init__(self, scheme: OidcScheme, keys: Keys, security: Security, clock: Clock) -> None:
        """Raises SettingsError for an algorithm that is not to be believed."""
        if unknown := sorted(set(scheme.algorithms) - ALGORITHMS):
            raise SettingsError(f"scheme {scheme.name}: the algorithms {unknown} are not believed")
        self.scheme = scheme
        self.keys = keys
        self._security = security
        self._claims = security.claims
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def remembered(self, digest: bytes) -> Identity | None:
        """Whoever showed the token of this digest before, if it is still good and signed by one of today's keys."""
        known = self._known.get(digest)
        if known is None:
            return None
        if known.keys is self.keys.current() and self._now_s() < known.expires_s:
            self._known.move_to_end(digest)
            return known.identity
        del self._known[digest]
        return None

    async def identity(self, shown: Token, digest: bytes) -> Identity:
        """Raises NotBelieved, and CannotTell while there are no keys."""
        if shown.algorithm not in self.scheme.algorithms:
            raise NotBelieved("its algorithm is none that the contract names")
        keys = self.keys.current()
        key = keys.find(shown.key_id, shown.algorithm)
        if key is None:
            await self.keys.look_again()
            keys = self.keys.current()
            key = keys.find(shown.key_id, shown.algorithm)
        if key is None:
            raise NotBelieved("it is signed by a key that the issuer does not have")
        shown.check_signature(key)
        identity = self._believed(shown)
        self._remember(digest, _Known(identity, keys, identity.expires_s or 0.0))
        return identity

    def _believed(self, shown: Token) -> Identity:
        bearer = token.bearer_of(shown, self.scheme, self._claims, self._now_s())
        try:
            caller = caller_id(self._security, self.scheme.name, bearer.id)
            canonical(bearer.claims)
        except ValueError as error:
            raise NotBelieved(str(error)) from None
        return Identity(caller, bearer.scopes, bearer.claims, self.scheme.name, bearer.expires_s)

    def _remember(self, digest: bytes, known: "_Known") -> None:
        self._known[digest] = known
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _now_s(self) -> float:
        return self._clock.wall_ms() / 1000


class _Known(NamedTuple):
    """A token that was believed."""

    identity: Identity
    keys: KeySet
    """Among which its key was: once they change, it is looked at anew."""
    expires_s: float


class ApiKeyCallers:
    """Knows callers by keys of a file."""

    def __init__(
        self, scheme: ApiKeyScheme, file: Callable[[], KeyFile], security: Security, clock: Clock
    ) -> None:
        self.scheme = scheme
        self._file = file
        self._security = security
        self._claims = security.default_claims
        self._clock = clock

    def identity(self, shown: str) -> Identity:
        """Raises NotBelieved."""
        key = self._file().find(shown)
        if key is None or key.scheme not in ("", self.scheme.name):
            raise NotBelieved("it is no key of this gateway")
        if not key.is_good(self._clock.wall_ms() / 1000):
            raise NotBelieved("it has expired")
        try:
            caller = caller_id(self._security, self.scheme.name, key.name)
        except ValueError as error:
            raise NotBelieved(str(error)) from None
        return Identity(caller, frozenset(key.scopes), self._claims, self.scheme.name, key.expires_s)


class AnyOf:
    """Knows callers by any of these schemes; implements Authenticator."""

    def __init__(self, oidc: Sequence[OidcCallers], api_keys: Sequence[ApiKeyCallers]) -> None:
        self._oidc = tuple(oidc)
        self._api_keys = tuple((callers.scheme.header.lower(), callers) for callers in api_keys)

    async def identity(self, headers: Headers) -> Identity:
        """As Authenticator says. A credential counts that one of these schemes would take; others are not looked at."""
        shown = [(callers, value) for header, callers in self._api_keys for value in headers.getlist(header)]
        bearers = headers.getlist("authorization") if self._oidc else []
        if len(shown) + len(bearers) != 1:
            raise self._not_one(len(shown) + len(bearers))
        if not bearers:
            (callers, key), *_ = shown
            try:
                return callers.identity(key)
            except NotBelieved as error:
                raise self._refused(f"the key in {callers.scheme.header} is not believed: {error}") from None
        try:
            return await self._bearer(bearers[0])
        except NotBelieved as error:
            raise self._refused(f"the token is not believed: {error}") from None

    async def _bearer(self, value: str) -> Identity:
        matched = _BEARER.fullmatch(value.strip(" \t"))
        if not matched:
            raise NotBelieved("Authorization has the form `Bearer TOKEN`")
        text: str = matched[1]
        if len(text) > token.MAX_TOKEN_BYTES:
            raise NotBelieved(f"it has more than {token.MAX_TOKEN_BYTES} bytes")
        digest = sha256(text.encode(errors="surrogateescape")).digest()
        for callers in self._oidc:
            if identity := callers.remembered(digest):
                return identity
        shown = token.parse(text)
        of_issuer = [callers for callers in self._oidc if callers.scheme.issuer == shown.issuer]
        if not of_issuer:
            raise NotBelieved("its issuer (`iss`) is none whose callers may come here")
        return await self._first(of_issuer, shown, digest)

    @staticmethod
    async def _first(of_issuer: Sequence[OidcCallers], shown: Token, digest: bytes) -> Identity:
        """Schemes may share an issuer, and differ in their audience."""
        *others, last = of_issuer
        for callers in others:
            try:
                return await callers.identity(shown, digest)
            except NotBelieved:
                continue
        return await last.identity(shown, digest)

    def challenges(self, error: str = "", scopes: Sequence[str] = ()) -> Sequence[str]:
        """As Authenticator says."""
        bearer = f'Bearer realm="{REALM}"' if self._oidc else ""
        if bearer and error:
            bearer += f', error="{error}"'
        if bearer and scopes:
            bearer += f', scope="{" ".join(scopes)}"'
        keys = [f'ApiKey realm="{REALM}", header="{callers.scheme.header}"' for _, callers in self._api_keys]
        return [bearer, *keys] if bearer else keys

    def _not_one(self, count: int) -> Unauthenticated:
        if count:
            why = "several credentials were shown: send one of them, so that it is clear who calls"
            return Unauthenticated(why, self.challenges("invalid_request"))
        ways = ["a token in Authorization: Bearer"] if self._oidc else []
        ways += [f"a key in {callers.scheme.header}" for _, callers in self._api_keys]
        return Unauthenticated(f"this needs {' or '.join(ways)}", self.challenges(), is_missing=True)

    def _refused(self, why: str) -> Unauthenticated:
        return Unauthenticated(why, self.challenges("invalid_token"))


class Schemes:
    """All schemes of a contract; implements Authentication."""

    def __init__(self, callers: Mapping[str, OidcCallers | ApiKeyCallers]) -> None:
        self._callers = callers

    @classmethod
    @asynccontextmanager
    async def opened(cls, security: Security, files: AccessFiles, clock: Clock) -> AsyncGenerator["Schemes"]:
        """Until the block is left, keys are kept up to date. Raises SettingsError for a file of no use."""
        async with AsyncExitStack() as stack:
            found: dict[str, OidcCallers | ApiKeyCallers] = {}
            takes_keys = [each.name for each in security.schemes if isinstance(each, ApiKeyScheme)]
            file = _key_file(files, takes_keys) if takes_keys else None
            issuers: dict[str, IssuerKeys] = {}
            for scheme in security.schemes:
                if isinstance(scheme, ApiKeyScheme):
                    assert file, "one scheme takes keys"
                    found[scheme.name] = ApiKeyCallers(scheme, file.content, security, clock)
                elif scheme.name in files.key_sets:
                    kept = FileKeys(files.key_sets[scheme.name], files.variable(scheme.name))
                    found[scheme.name] = OidcCallers(scheme, kept, security, clock)
                else:
                    if scheme.issuer not in issuers:
                        issuers[scheme.issuer] = await _entered(stack, scheme.issuer, clock)
                    found[scheme.name] = OidcCallers(scheme, issuers[scheme.issuer], security, clock)
            yield cls(found)

    def by(self, schemes: Sequence[str]) -> Authenticator:
        """As Authentication says."""
        chosen = [self._callers[name] for name in schemes]
        return AnyOf(
            [each for each in chosen if isinstance(each, OidcCallers)],
            [each for each in chosen if isinstance(each, ApiKeyCallers)],
        )

    @property
    def checks(self) -> Mapping[str, Check]:
        """Of /readyz: whether each scheme has its keys."""
        return {
            f"callers of {name}": callers.keys.check
            for name, callers in self._callers.items()
            if isinstance(callers, OidcCallers)
        }


def caller_id(security: Security, scheme: str, id: str) -> str:
    """Under which id a scheme's caller is known in the mesh. Raises ValueError for one that can't have any."""
    first, *others = (each.name for each in security.schemes)
    caller = id if scheme == first else f"{scheme}:{id}"
    if id == ANONYMOUS:
        raise ValueError(f'the caller can\'t be called "{ANONYMOUS}", which is nobody in particular')
    if scheme == first and any(id.startswith(f"{other}:") for other in others):
        raise ValueError("the caller's id is one of another scheme's")
    if len(caller.encode()) > MAX_CALLER_BYTES:
        raise ValueError(f"the caller's id has more than {MAX_CALLER_BYTES} bytes")
    return caller


def _key_file(files: AccessFiles, schemes: Sequence[str]) -> SecretFile[KeyFile]:
    path = files.api_keys
    if not files.is_api_keys_set and not path.exists():
        _make(path)
    return SecretFile(path, files.API_KEYS, lambda content: api_keys.parse(content, schemes))


def _make(path: Path) -> None:
    """An empty file, where nobody has said another place: `sagagen keys new` then adds to it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(api_keys.HEADER)


async def _entered(stack: AsyncExitStack, url: str, clock: Clock) -> IssuerKeys:
    client = await stack.enter_async_context(issuer.client())
    keys = IssuerKeys(url, client, clock.monotonic_s)
    await stack.enter_async_context(keys.opened())
    return keys


__all__ = ["AnyOf", "ApiKeyCallers", "CannotTell", "OidcCallers", "Schemes", "caller_id"]
