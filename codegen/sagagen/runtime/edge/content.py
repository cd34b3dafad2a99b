"""What a request says of its body and of where it comes from, before the body is read."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers

from sagagen.runtime.edge.key import NAMES
from sagagen.runtime.edge.problem import Problem, ProblemError

_JSON = re.compile(r"application/(?:[a-z0-9!#$&^_.\-]+\+)?json[ \t]*(?:;.*)?", re.IGNORECASE)
"""Also a format on top of JSON (RFC 6839, 3.1)."""
_ASKED_FOR = ("authorization", *NAMES)
"""Headers that a browser sends to another origin only after that has allowed it (Fetch, CORS-safelisted)."""


def check_content(headers: Headers) -> None:
    """Raises ProblemError, 415, for a body that is compressed, or whose type says that it is no JSON.

    RFC 9110, 15.5.16. A request without a type may be JSON.
    """
    codings = [coding.strip() for coding in ",".join(headers.getlist("content-encoding")).split(",")]
    if any(coding.lower() not in ("", "identity") for coding in codings):
        detail = f"a body with content-encoding {_shown(codings)} is not read; send it as it is"
        raise _unsupported("UNSUPPORTED_ENCODING", detail, ("accept-encoding", "identity"))
    types = headers.getlist("content-type")
    if types and not (len(types) == 1 and _JSON.fullmatch(types[0].strip())):
        detail = f"a body of type {_shown(types)} is not read; send JSON, with content-type: application/json"
        raise _unsupported("UNSUPPORTED_MEDIA_TYPE", detail, ("accept-post", "application/json"))


def check_origin(method: str, headers: Headers) -> None:
    """Raises ProblemError, 403, for what a page of another site has a browser send without asking this one.

    A browser asks (a CORS preflight) before any other write, and then the answer decides: the contract allows origins
    (`security.cors`), or CORS middleware in gateway/app.py does. docs/decisions/159-writes-of-other-sites.md
    """
    if method == "POST" and is_of_another_origin(headers) and not _is_asked_for(headers):
        detail = (
            "a page of another site sent this without asking first; with content-type: application/json its browser "
            "asks, and the contract's security.cors decides, or the gateway's CORS middleware"
        )
        raise ProblemError(Problem(403, "PERMISSION_DENIED", "CROSS_SITE", detail))


def is_of_another_origin(headers: Headers) -> bool:
    """Fetch metadata says so; before it there was only Origin, which browsers send with every POST."""
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _is_asked_for(headers: Headers) -> bool:
    is_json = _JSON.fullmatch(headers.get("content-type", "").strip())
    return bool(is_json) or any(name in headers for name in _ASKED_FOR)


def _unsupported(reason: str, detail: str, header: tuple[str, str]) -> ProblemError:
    return ProblemError(Problem(415, "INVALID_ARGUMENT", reason, detail, headers=(header,)))


def _shown(values: Iterable[str]) -> str:
    return f'"{", ".join(values)[:60]}"'
