"""What the admin listener answers: JSON, and problem documents (RFC 9457)."""

import json
from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from sagagen.runtime.escaping import escaped_json


class Json(JSONResponse):
    """Operators ask with curl as well: what others chose of an answer can do nothing to their terminal."""

    def render(self, content: object) -> bytes:
        return escaped_json(json.dumps(content, ensure_ascii=False, separators=(",", ":"))).encode()


class _Problem(Json):
    media_type = "application/problem+json"


def problem(
    status: int, detail: str, *, challenges: Sequence[str] = (), retry_after_s: float | None = None
) -> Response:
    """`challenges` are values of WWW-Authenticate (RFC 9110, 11.6.1)."""
    members = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    response = _Problem(members, status_code=status)
    for challenge in challenges:
        response.headers.append("www-authenticate", challenge)
    if retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, round(retry_after_s)))
    return response
