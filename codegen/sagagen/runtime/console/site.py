"""The console put together: its routes, who may take which, and how everything else is answered as a page."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from sagagen.runtime.admin.deed import Deed
from sagagen.runtime.admin.gate import OPERATOR_HEADER, Admitted, NotAdmitted
from sagagen.runtime.admin.orders import UnknownOrder
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.audit.entry import Result
from sagagen.runtime.audit.trail import TooManyPending
from sagagen.runtime.console import live
from sagagen.runtime.console.desk import Desk
from sagagen.runtime.console.door import Browser, Door
from sagagen.runtime.console.logging_in import ways_in
from sagagen.runtime.console.page import Form, Page, View, Visit
from sagagen.runtime.console.rendering import STATIC, now_iso, rendered, static_file
from sagagen.runtime.console.views import FORMS, VIEWS
from sagagen.runtime.saga.commands import AmbiguousSaga, CommandRejected, UnknownSaga
from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # With `no-referrer` a browser would not say which origin a form comes from (Fetch, 3.2).
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "vary": "accept, cookie",
}

_ERRORS: tuple[tuple[type[Exception], int], ...] = (
    (BadOrder, 400),
    (UnknownSaga, 404),
    (UnknownOrder, 404),
    (AmbiguousSaga, 409),
    (CommandRejected, 409),
    (TooManyPending, 409),
    (JournalUnavailable, 503),
    (JournalUnreadable, 503),
)
_SHOWABLE: tuple[type[Exception], ...] = (NotAdmitted, HTTPException, *(kind for kind, _ in _ERRORS))
Endpoint = Callable[[Request], Awaitable[Response]]


class _LogInFirst(Exception):
    """Nobody is logged in, and somebody has to be."""


def site(desk: Desk) -> Starlette:
    """The console as an application, below whatever path it is mounted at."""
    return _Site(desk).application()


class _Site:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._door = Door(desk)
        self._ways = ways_in(desk.mesh)
        self._streams = live.Streams()

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/static/{name}", _static, methods=["GET"]),
                Route("/login", self._answering(self._log_in_page), methods=["GET"]),
                Route("/login", self._answering(self._log_in), methods=["POST"]),
                Route("/logout", self._answering(self._log_out), methods=["POST"]),
                *(self._view_route(view) for view in VIEWS),
                *(self._form_route(form) for form in FORMS),
                Route("/{path:path}", self._answering(_nothing_here)),
            ]
        )

    def _view_route(self, view: View) -> Route:
        return Route(view.path, self._answering(partial(self._shown, view)), methods=["GET"])

    def _form_route(self, form: Form) -> Route:
        return Route(form.path, self._answering(partial(self._taken, form)), methods=["POST"])

    # -- pages and forms -----------------------------------------------------------------------------------------------

    async def _shown(self, view: View, request: Request, browser: Browser) -> Response:
        if "text/event-stream" in request.headers.get("accept", ""):
            return await self._streamed(view, request, browser)
        return await self._response(view, request, browser)

    async def _response(self, view: View, request: Request, browser: Browser) -> Response:
        visit, page = await self._looked(view, request, browser)
        if isinstance(page, Response):
            return page
        return HTMLResponse(await self._html(view, visit, page), status_code=page.status_code)

    async def _looked(
        self, view: View, request: Request, browser: Browser, *, is_again: bool = False
    ) -> tuple[Visit, Page | Response]:
        deed = _deed(request, view.name, is_order=False)
        async with self._desk.orders.audited(deed):
            admitted = await self._admitted(request, browser, deed)
            visit = Visit(
                self._desk,
                request,
                admitted,
                deed,
                browser.csrf_token,
                browser.is_logged_in,
                is_again=is_again,
            )
            if view.is_for_operators and not admitted.is_operator:
                raise _not_for_viewers(admitted)
            return visit, await view.look(visit)

    async def _admitted(self, request: Request, browser: Browser, deed: Deed) -> Admitted:
        try:
            admitted = await self._door.admit(request, browser)
        except NotAdmitted as error:
            if error.status == 401 and not browser.is_logged_in:
                raise _LogInFirst from error
            if error.status == 401:  # what it showed is good no more
                self._door.sessions.end(browser.session_id)
            raise
        deed.by, deed.scheme = admitted.by, admitted.scheme
        return admitted

    async def _taken(self, form: Form, request: Request, browser: Browser) -> Response:
        deed = _deed(request, form.did or request.path_params["act"], is_order=True)
        async with self._desk.orders.audited(deed):
            admitted = await self._admitted(request, browser, deed)
            if not admitted.is_operator:
                raise _not_for_viewers(admitted)
            given = await self._door.form(request, browser)
            visit = Visit(self._desk, request, admitted, deed, browser.csrf_token, browser.is_logged_in)
            answer = await form.take(visit, given)
        if isinstance(answer, Response):
            return self._named(answer, visit, given)
        view = View(answer.template.removesuffix(".html"), answer.title, form.path, _never, is_live=False)
        return HTMLResponse(await self._html(view, visit, answer), status_code=answer.status_code)

    def _named(self, answer: Response, visit: Visit, given: Mapping[str, str]) -> Response:
        """Whoever had to say their name says it once: where no scheme knows them, it is kept as a log-in is."""
        if not visit.admitted.is_known and not visit.admitted.by and (name := given.get("by", "").strip()):
            self._door.keep(answer, visit.request, self._door.sessions.begin({OPERATOR_HEADER: quote(name)}))
        return answer

    async def _streamed(self, view: View, request: Request, browser: Browser) -> Response:
        if not view.is_live or not self._streams.has_room:
            raise HTTPException(503, "this page can't be live now")

        async def made() -> str:
            visit, page = await self._looked(view, request, browser, is_again=True)
            assert isinstance(page, Page), "a view that leads elsewhere is not live"
            return await self._html(view, visit, page)

        await made()  # who may not look is told so before the stream begins
        chunks = self._streams.of(made, live.closing_of(request), (*_SHOWABLE, _LogInFirst))
        return StreamingResponse(chunks, media_type="text/event-stream")

    async def _html(self, view: View, visit: Visit, page: Page) -> str:
        return rendered(page.template or f"{view.name}.html", await self._values(view, visit, page))

    async def _values(self, view: View, visit: Visit, page: Page) -> dict[str, Any]:
        return {
            **self._everywhere(visit.request),
            "title": page.title,
            "visit": visit,
            "view": view,
            "admitted": visit.admitted,
            "is_live": view.is_live,
            "is_again": visit.is_again,
            "is_logged_in": visit.is_known,
            "csrf_token": visit.csrf_token,
            "command": f"{page.command}{visit.options}" if page.command else "",
            "orders_waiting": await self._orders_waiting(),
            **page.values,
        }

    def _everywhere(self, request: Request) -> dict[str, Any]:
        return {
            "project": self._desk.mesh.project,
            "root": request.scope["root_path"],
            "views": [view for view in VIEWS if view.is_listed],
            "view": None,
            "admitted": None,
            "is_live": False,
            "is_again": False,
            "is_logged_in": False,
            "csrf_token": "",
            "command": "",
            "orders_waiting": 0,
            "now": now_iso(),
        }

    async def _orders_waiting(self) -> int:
        try:
            return len(await self._desk.orders.pending())
        except JournalUnavailable:
            return 0  # the page itself says it, where it matters

    # -- logging in and out --------------------------------------------------------------------------------------------

    async def _log_in_page(self, request: Request, browser: Browser) -> Response:
        return self._log_in_again(request, browser)

    def _log_in_again(self, request: Request, browser: Browser, error: NotAdmitted | None = None) -> Response:
        values = {
            "title": "Log in",
            "ways": self._ways,
            "error": str(error) if error else "",
            "next": request.query_params.get("next", ""),
        }
        everywhere = {**self._everywhere(request), "csrf_token": browser.csrf_token}
        response = HTMLResponse(
            rendered("login.html", {**everywhere, **values}), 200 if error is None else error.status
        )
        _say_when(response, error)
        return response

    async def _log_in(self, request: Request, browser: Browser) -> Response:
        deed = _deed(request, "log in", is_order=True)
        try:
            async with self._desk.orders.audited(deed):
                given = await self._door.form(request, browser)
                session_id = await self._door.log_in(request, self._candidates(given))
                session = self._door.sessions.find(session_id)
                admitted = await self._door.admit(
                    request, Browser(session_id, True, session.headers if session else {}, "")
                )
        except NotAdmitted as error:
            return self._log_in_again(request, browser, error)
        deed.by, deed.scheme = admitted.by, admitted.scheme
        self._desk.orders.auditor.tell(deed.entry(Result.DONE))
        self._door.sessions.end(browser.session_id)
        response = RedirectResponse(_local(request, given.get("next", "")), 303)
        self._door.keep(response, request, session_id)
        return response

    def _candidates(self, given: Mapping[str, str]) -> list[Mapping[str, str]]:
        return [headers for way in self._ways if (headers := way.headers(given))]

    async def _log_out(self, request: Request, browser: Browser) -> Response:
        await self._door.form(request, browser)
        self._door.sessions.end(browser.session_id)
        return RedirectResponse(f"{request.scope['root_path']}/", 303)

    # -- whatever else is to be answered -------------------------------------------------------------------------------

    def _answering(self, endpoint: Callable[[Request, Browser], Awaitable[Response]]) -> Endpoint:
        """With the headers of every page; errors become pages."""

        async def answered(request: Request) -> Response:
            browser = self._door.browser(request)
            try:
                response = await endpoint(request, browser)
            except _LogInFirst:
                response = _to_log_in(request)
            except _SHOWABLE as error:
                response = self._error_page(request, error)
            response.headers.update(HEADERS)
            if browser.is_new and "set-cookie" not in response.headers:
                self._door.keep(response, request, browser.session_id)
            return response

        return answered

    def _error_page(self, request: Request, error: Exception) -> Response:
        code = _status_of(error)
        values = {
            "title": HTTPStatus(code).phrase,
            "code": code,
            "error": error.detail if isinstance(error, HTTPException) else str(error),
            "candidates": [each for each in error.candidates if each != "..."]
            if isinstance(error, AmbiguousSaga)
            else [],
            "may_log_in": code == 401 or isinstance(error, NotAdmitted),
        }
        response = HTMLResponse(rendered("error.html", {**self._everywhere(request), **values}), code)
        _say_when(response, error)
        return response


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404)
    headers = {**HEADERS, "cache-control": "public, max-age=31536000, immutable"}
    return Response(await asyncio.to_thread(static_file, name), media_type=STATIC[name], headers=headers)


async def _nothing_here(request: Request, _browser: Browser) -> Response:
    raise HTTPException(404, "the console has no such page")


async def _never(_visit: Visit) -> Page:
    raise HTTPException(404)


def _deed(request: Request, did: str, *, is_order: bool) -> Deed:
    path = request.path_params
    return Deed(
        did=did,
        saga_id=path.get("id", ""),
        order_id=path.get("order", ""),
        address=request.client.host if request.client else "",
        is_order=is_order,
    )


def _not_for_viewers(by: Admitted) -> NotAdmitted:
    return NotAdmitted(
        403, f"{by.by} may look at sagas; payloads and orders are for operators", by=by.by, scheme=by.scheme
    )


def _to_log_in(request: Request) -> Response:
    root = request.scope["root_path"]
    if request.method != "GET":
        return RedirectResponse(f"{root}/login", 303)
    asked = request.url.query
    wanted = f"{request.scope['path']}{'?' if asked else ''}{asked}"
    return RedirectResponse(f"{root}/login?next={quote(wanted, safe='')}", 303)


def _local(request: Request, wanted: str) -> str:
    """Where to go after the log-in: a page of the console, whatever a link said."""
    root = request.scope["root_path"]
    parts = urlsplit(wanted)
    is_own = not parts.scheme and not parts.netloc and parts.path.startswith(f"{root}/")
    return wanted if is_own and "\\" not in wanted and wanted.isprintable() else f"{root}/"


def _status_of(error: Exception) -> int:
    if isinstance(error, NotAdmitted):
        return error.status
    if isinstance(error, HTTPException):
        return error.status_code
    return next(code for kind, code in _ERRORS if isinstance(error, kind))


def _say_when(response: Response, error: Exception | None) -> None:
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, round(retry_after_s)))
