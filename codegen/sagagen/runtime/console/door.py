"""The door of the console. The gate of the admin listener decides, by the key or the token of the log-in.

A form is taken only from a page of the console itself: it sends the token of its browser's cookie, and the browser says
that the page is of this origin. That holds on loopback too, where nobody logs in: a page of another origin can send
forms there as well.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from sagagen.runtime.admin.gate import Admitted, NotAdmitted
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.console.desk import Desk
from sagagen.runtime.console.page import Given
from sagagen.runtime.console.sessions import LogInAttempts, Sessions

MAX_FIELDS = 200
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Browser:
    """What is known of who asks, before the gate is asked."""

    session_id: str
    """As its cookie has it; a new one where it has none."""
    is_new: bool
    headers: Mapping[str, str]
    """What it showed at the log-in; empty where it did not log in, or no longer counts as having."""
    csrf_token: str

    @property
    def is_logged_in(self) -> bool:
        return bool(self.headers)


class Door:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.sessions = Sessions(time.monotonic)
        self.attempts = LogInAttempts(time.monotonic)

    def browser(self, request: Request) -> Browser:
        given = _cookie(request)
        session_id = given if self.sessions.is_id(given) else self.sessions.new_id()
        session = self.sessions.find(session_id)
        token = self.sessions.csrf_token(session_id)
        return Browser(session_id, session_id != given, session.headers if session else {}, token)

    async def admit(self, request: Request, browser: Browser) -> Admitted:
        """Raises NotAdmitted."""
        return await self._desk.gate.admit(_with(request, browser.headers))

    def keep(self, response: Response, request: Request, session_id: str) -> None:
        """Have the browser keep the id."""
        response.set_cookie(
            _cookie_name(request),
            session_id,
            path=request.scope["root_path"],
            secure=_is_secure(request),
            httponly=True,
            samesite="strict",
        )

    async def log_in(self, request: Request, candidates: list[Mapping[str, str]]) -> str:
        """The id of a new session, by the first of these headers that the gate takes. Raises NotAdmitted."""
        address = request.client.host if request.client else ""
        if wait_s := self.attempts.wait_s(address):
            why = "too many log-ins failed here: wait a minute"
            raise NotAdmitted(429, why, retry_after_s=wait_s)
        self.attempts.begin(address)  # before the gate is asked: many at once are many
        refused: NotAdmitted | None = None
        for headers in candidates:
            try:
                await self._desk.gate.admit(_with(request, headers))
            except NotAdmitted as error:
                refused = error if refused is None or error.status == 403 else refused
            else:
                self.attempts.succeeded(address)
                return self.sessions.begin(headers)
        raise refused or NotAdmitted(401, "give a token or a key")

    async def form(self, request: Request, browser: Browser) -> Given:
        """Its fields. Raises NotAdmitted for a form of another page, and BadOrder."""
        _check_origin(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != FORM:
            raise BadOrder(f"a form of the console comes as {FORM}")
        try:
            text = (await request.body()).decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
        except ValueError as error:
            raise BadOrder("the form's fields can't be read") from error
        fields = dict(pairs)
        if not self.sessions.is_csrf_token(browser.session_id, fields.pop("csrf", "")):
            raise NotAdmitted(403, "this form is of another session, or an old one: open its page again")
        return fields


def _check_origin(request: Request) -> None:
    """Browsers say where a form comes from (Fetch, 3.2; Fetch Metadata). Whoever says nothing is no browser."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        raise NotAdmitted(
            403, "forms are for browsers: programs send orders as JSON, as `sagagen sagas` does"
        )
    is_own = (site in (None, "same-origin")) and (
        origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    )
    if not is_own:
        raise NotAdmitted(403, "this form comes from a page of another origin")


def _with(request: Request, headers: Mapping[str, str]) -> Request:
    """The request as if the browser had sent these headers."""
    names = {name.encode() for name in headers}
    kept = [(name, value) for name, value in request.scope["headers"] if name not in names]
    added = [(name.encode(), value.encode("utf-8")) for name, value in headers.items()]
    return Request({**request.scope, "headers": [*kept, *added]})


def _cookie(request: Request) -> str:
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(_cookie_name(request))
    except CookieError:
        return ""
    return found.value if found else ""


def _cookie_name(request: Request) -> str:
    """Cookies are of a host, whatever its port: the port is named for whoever forwards two gateways to one machine."""
    return f"sagagen_console_{request.url.port or request.url.scheme}"


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
