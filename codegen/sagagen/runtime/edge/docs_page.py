"""`/docs`: the OpenAPI document to read and to try out, by Swagger UI, which comes with the package offapi.

The page loads nothing from another host, and its policy keeps it so. Its files are read once: clients that take them
slowly, or not at all, share one copy.
"""

import asyncio
import hashlib
import html
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import sagagen
from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.exchange import Exchange
from sagagen.runtime.edge.problem import Problem, ProblemError

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI sets style attributes
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_JAVASCRIPT, _CSS = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
_FILES = {"swagger_bundle.js": _JAVASCRIPT, "swagger_style.css": _CSS}
"""Of offapi, with their content types."""
_KNOWN = {
    "swagger_bundle.js": "050bc415ee7048dcd881682678f720264e7da5e373f7461d7c58c755305255f7",
    "swagger_style.css": "1ac324f7dcd27e4b9386b4bd6421271ec147e922a22c05ba24b11515e9aa6321",
}
"""SHA-256 of what swagger-ui-dist 5.33.1 has on npm as swagger-ui-bundle.js and swagger-ui.css."""
_START = """\
SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript.src).pathname,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""
_PAGE = """\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{title}</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="docs/swagger_style.css?{version}">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="docs/swagger_bundle.js?{version}"></script>
    <script src="docs/start.js?{version}"></script>
  </body>
</html>
"""


class DocsEndpoint:
    """The page itself."""

    def __init__(self, project: str) -> None:
        made_by = f"{sagagen.__version__}-{version('offapi')}"
        text = _PAGE.format(title=html.escape(f"{project}: API"), version=made_by)
        self._answer = Answer(200, _headers("text/html; charset=utf-8", "no-cache"), text.encode())

    async def __call__(self, exchange: Exchange) -> Answer:
        return self._answer


class DocsFileEndpoint:
    """What the page loads."""

    async def __call__(self, exchange: Exchange) -> Answer:
        name = exchange.values["file"]
        if name == "start.js":
            return _kept(_JAVASCRIPT, _START.encode())
        if name not in _FILES:
            raise ProblemError(Problem(404, "NOT_FOUND", "NO_ROUTE", "the page /docs has no such file"))
        return _kept(_FILES[name], await asyncio.to_thread(_read, name))


def checked(name: str, data: bytes) -> bytes:
    """The file, if it is Swagger's own. On this page people show their tokens, and it comes by another's package.

    Raises ProblemError (500) for anything else: docs/decisions/216-dependencies-that-one-person-keeps.md
    """
    if hashlib.sha256(data).hexdigest() != _KNOWN[name]:
        detail = f"{name} of the package offapi is not the one of Swagger UI that sagagen knows, so it is not served"
        raise ProblemError(Problem(500, "INTERNAL", "DOCS_UNKNOWN", detail))
    return data


def _kept(content_type: str, body: bytes) -> Answer:
    """Browsers need not ask again: another version has another address."""
    return Answer(200, _headers(content_type, "public, max-age=31536000, immutable"), body)


def _headers(content_type: str, cache_control: str) -> tuple[tuple[str, str], ...]:
    headers: Mapping[str, str] = {
        "content-type": content_type,
        "cache-control": cache_control,
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return tuple(headers.items())


@cache
def _read(name: str) -> bytes:
    # Found, not imported: importing it puts all of its files into templates.
    package = find_spec("offapi")
    assert package is not None, "sagagen requires it"
    assert package.origin is not None
    return checked(name, Path(package.origin).with_name(name).read_bytes())
