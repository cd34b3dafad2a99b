"""What a request passes before its body is read: who sends it, whether they send too much, and whether they may.

Who sends it is found out by the schemes of the contract's `security` section, and then by the hook `identity=` of
gateway/app.py; without that section by the hook `caller=` alone. An endpoint asks its entry first of all:

    identity = await self._entry(exchange)      401, 403, 429 or 503
    ... the request is read and validated ...
    self._entry.check_request(identity, data)   `allow`, where it reads the request: 404 on a read, 403 on a write
    ... the service answers a read ...
    self._entry.check_response(identity, data, response)
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Scope

from sagagen.runtime.access.identity import (
    NOBODY,
    Authentication,
    Authenticator,
    CannotTell,
    Identity,
    Unauthenticated,
)
from sagagen.runtime.contained import as_logged, is_cancelled
from sagagen.runtime.edge.exchange import Exchange, HookFailed
from sagagen.runtime.edge.problem import Problem, ProblemError, retry_after
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.model.definition import MAX_CALLER_BYTES, Method
from sagagen.runtime.model.security import Access, Security
from sagagen.runtime.scope import AccessScope

Caller = Callable[[Request], str | Awaitable[str]]
"""The hook `caller=`: says on whose behalf a request comes. May raise starlette's HTTPException."""
IdentityHook = Callable[[Request, Identity], Identity | Awaitable[Identity]]
"""The hook `identity=`: gets who sent a request, as the contract's schemes have it, and may make more of it.

May raise starlette's HTTPException.
"""
CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
"""Reason of a 401 to somebody who has shown nothing."""
_NOT_BELIEVED = frozenset({401, 403})
"""What a hook raises for whom it does not believe."""

AnswerT = TypeVar("AnswerT")

_NOT_FOUND = Problem(
    404, "NOT_FOUND", "NOT_FOUND", "there is no such thing, or none that this caller may see"
)
"""One answer to what is missing and to what is another's: nobody learns which of the two it is."""


class Pace(Protocol):
    """Turns away whoever sends too much: `caller_rates`. Each raises ProblemError (429) for one request too many."""

    def check_guesses(self, scope: Scope) -> None:
        """Before it is looked at who sends a request: too many from this address were not believed."""
        ...

    def count_guess(self, scope: Scope) -> None:
        """What a request from this address has shown is not believed. Raises nothing."""
        ...

    def count(self, scope: Scope, caller: str) -> None:
        """A request of this caller; one who is anonymous is told by the address."""
        ...


class HookNotAsked(TypeError):
    """A hook of gateway/app.py that does not fit the contract would decide nothing; the message says what to do."""


class Entry:
    """Of one route; of all routes of a contract without `security`."""

    def __init__(
        self,
        who: "Callable[[Exchange], Awaitable[Identity]]",
        *,
        pace: Pace | None = None,
        access: Access | None = None,
        method: Method[Any, Any] | None = None,
        authenticator: Authenticator | None = None,
    ) -> None:
        """`who` finds out who sent a request. `method` is the rpc of a route whose `access` has an `allow`."""
        self._who = who
        self._pace = pace
        self._access = access
        self._method = method
        self._authenticator = authenticator
        self._scopes = frozenset(access.scopes) if access else frozenset[str]()
        self._allow_request = access.allow if access and not access.reads_response else None
        self._allow_response = access.allow if access and access.reads_response else None

    async def __call__(self, exchange: Exchange) -> Identity:
        """Whoever sent the request. Raises ProblemError, and what a hook of gateway/app.py raises."""
        if self._pace is None:
            identity = await self._identity(exchange)
        else:
            identity = await self._counted(self._pace, exchange)
        if not self._scopes <= identity.scopes:
            raise ProblemError(self._lacks_scope(identity))
        return identity

    async def _identity(self, exchange: Exchange) -> Identity:
        try:
            return await self._who(exchange)
        except Unauthenticated as error:
            raise ProblemError(_unauthenticated(error)) from error
        except CannotTell as error:
            raise ProblemError(_cannot_tell(error)) from error

    async def _counted(self, pace: Pace, exchange: Exchange) -> Identity:
        """The same, for whoever does not send too much. Where anybody may come, nobody guesses."""
        scope = exchange.request.scope
        if not (self._access and self._access.is_public):
            pace.check_guesses(scope)
        try:
            identity = await self._who(exchange)
        except Unauthenticated as error:
            if error.is_missing:
                pace.count(scope, ANONYMOUS)
            else:
                pace.count_guess(scope)
            raise ProblemError(_unauthenticated(error)) from error
        except CannotTell as error:
            pace.count(scope, ANONYMOUS)
            raise ProblemError(_cannot_tell(error)) from error
        except HTTPException as error:
            if error.status_code in _NOT_BELIEVED:
                pace.count_guess(scope)
            raise
        pace.count(scope, identity.caller)
        return identity

    @property
    def hides(self) -> bool:
        """What this route reads may be another's: to whom it does not belong, it looks missing."""
        return self._allow_response is not None

    def check_request(self, identity: Identity, request: bytes) -> None:
        """Raises ProblemError where `allow` reads the request alone, and is false."""
        if self._allow_request is not None:
            self._check(self._allow_request, identity, request)

    def check_response(self, identity: Identity, request: bytes, response: bytes) -> None:
        """Raises ProblemError where `allow` reads the response, and is false."""
        if self._allow_response is not None:
            self._check(self._allow_response, identity, request, response)

    def not_found(self) -> ProblemError:
        """What stands for all that this route does not show."""
        return ProblemError(_NOT_FOUND)

    def _check(
        self, allow: Callable[[Any], bool], identity: Identity, request: bytes, response: bytes = b""
    ) -> None:
        method = self._method
        assert method, "a route with `allow` has an rpc"
        scope: AccessScope[Any, Any] = AccessScope(
            method.request,
            request,
            caller=identity.caller,
            claims=identity.claims,
            response_type=method.response,
            response=response,
        )
        if allow(scope) is True:
            return
        if method.is_read:
            raise self.not_found()
        raise ProblemError(_not_allowed())

    def _lacks_scope(self, identity: Identity) -> Problem:
        missing = " ".join(sorted(self._scopes - identity.scopes))
        detail = f"this caller lacks a scope that the route needs: {missing}"
        challenges = (
            self._authenticator.challenges("insufficient_scope", sorted(self._scopes))
            if self._authenticator
            else ()
        )
        return Problem(
            403, "PERMISSION_DENIED", "SCOPE_MISSING", detail, headers=_challenge_headers(challenges)
        )


class Entries:
    """Makes the entries of a gateway's routes."""

    def __init__(
        self,
        security: Security | None,
        caller: Caller | None,
        identity: IdentityHook | None,
        authentication: Authentication | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`authentication` are the schemes of `security` at work, if the contract has that."""
        assert (security is None) == (authentication is None), "schemes are what the section is about"
        self._security = security
        self._caller = caller or anonymous
        self._identity = identity
        self._authentication = authentication
        self._pace = pace

    def of_route(self, access: Access | None, method: Method[Any, Any]) -> Entry:
        """Of a route of the contract. Without a rule in a contract that has rules, it takes its default schemes."""
        if self._security is None:
            return self._by_hook()
        return self._by_schemes(access or Access(self._default(self._security)), method)

    def of_own(self) -> Entry:
        """Of a route of the gateway's own that shows a caller what is theirs."""
        if self._security is None:
            return self._by_hook()
        return self._by_schemes(Access(self._default(self._security)), None)

    @staticmethod
    def _default(security: Security) -> tuple[str, ...]:
        return security.default or tuple(scheme.name for scheme in security.schemes)

    def _by_hook(self) -> Entry:
        hook = self._caller

        async def who(exchange: Exchange) -> Identity:
            return Identity(await caller_of(hook, exchange.request))

        return Entry(who, pace=self._pace)

    def _by_schemes(self, access: Access, method: Method[Any, Any] | None) -> Entry:
        authenticator = (
            self._authentication.by(access.schemes) if self._authentication and not access.is_public else None
        )
        hook = self._identity

        async def who(exchange: Exchange) -> Identity:
            request = exchange.request
            identity = await authenticator.identity(request.headers) if authenticator else NOBODY
            return identity if hook is None else await identity_of(hook, request, identity)

        return Entry(who, pace=self._pace, access=access, method=method, authenticator=authenticator)


def anonymous(request: Request) -> str:
    """The caller of every request where nothing authenticates them. Ids from guessable keys are then guessable."""
    return ANONYMOUS


async def caller_of(hook: Caller, request: Request) -> str:
    """Raises what the hook raises; HookFailed for what is no Exception, and would end more than this request.

    Raises CallerTooLong as well.
    """
    caller = await _contained("the caller hook", lambda: hook(request))
    check_caller_length(caller)
    return caller


async def identity_of(hook: IdentityHook, request: Request, identity: Identity) -> Identity:
    """What the hook makes of an identity. Raises as `caller_of` does, and TypeError if it returns something else."""
    found = await _contained("the identity hook", lambda: hook(request, identity))
    if not isinstance(found, Identity):  # pyright: ignore[reportUnnecessaryIsInstance] - code of the project
        raise TypeError(f"the identity hook returned {type(found).__name__}: return an Identity")
    check_caller_length(found.caller)
    return found


async def _contained(hook: str, ask: Callable[[], AnswerT | Awaitable[AnswerT]]) -> AnswerT:
    try:
        answer = ask()
        return answer if isinstance(answer, str | Identity) else await cast(Awaitable[AnswerT], answer)
    except Exception:
        raise
    except BaseException as error:
        if is_cancelled(error):
            raise
        raise HookFailed(hook, error) from as_logged(error)


def check_caller_length(caller: str) -> None:
    """Raises CallerTooLong for what can't be sent along with every call."""
    if len(caller) <= MAX_CALLER_BYTES // 4:  # only what may be too long is encoded for it
        return
    length = len(caller.encode())
    if length > MAX_CALLER_BYTES:
        raise CallerTooLong(
            f"the caller hook returned {length} bytes, and services are told at most {MAX_CALLER_BYTES}: return what "
            "names the caller, such as a subject or an account, and not a whole token"
        )


class CallerTooLong(Exception):
    """A hook of gateway/app.py returned a caller that can't be sent along with every call."""


def _unauthenticated(error: Unauthenticated) -> Problem:
    reason = CREDENTIALS_MISSING if error.is_missing else "CREDENTIALS_INVALID"
    return Problem(401, "UNAUTHENTICATED", reason, str(error), headers=_challenge_headers(error.challenges))


def _cannot_tell(error: CannotTell) -> Problem:
    headers = (retry_after(error.retry_after_s),)
    return Problem(503, "UNAVAILABLE", "CALLERS_UNKNOWN", str(error), headers=headers)


def _not_allowed() -> Problem:
    return Problem(403, "PERMISSION_DENIED", "NOT_ALLOWED", "this caller may not do that")


def _challenge_headers(challenges: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple(("www-authenticate", challenge) for challenge in challenges)
