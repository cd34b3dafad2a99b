"""Every kind of answer that starting a saga has, over real HTTP, as bytes that can be compared."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from edge_library import Served, served

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
"""The same for every request, since a problem document has its saga's trace id."""
_EVERYWHERE = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
"""Said by every answer, whatever it answers; what is recorded is older than that."""
_NOT_COMPARED = frozenset({"date", "server", "traceparent", "content-length", *_EVERYWHERE})

Answers = dict[str, Any]
"""Status, headers and body of one answer, as JSON has them."""


def shown(answer: httpx.Response) -> Answers:
    """An answer without what differs each time: the clock, and the span that gave it."""
    headers = [[name, value] for name, value in answer.headers.multi_items() if name not in _NOT_COMPARED]
    assert {name: answer.headers[name] for name in _EVERYWHERE} == _EVERYWHERE
    trace_id = answer.headers["traceparent"].split("-")[1]
    told = {"status": answer.status_code, "headers": headers, "trace_id": trace_id, "body": answer.text}
    return {
        **told,
        "headers": [
            [name, "RUN" if name == "saga-owner-run" and re.fullmatch("[0-9a-f]{16,64}", value) else value]
            for name, value in headers
        ],
    }


REQUESTS: Mapping[str, tuple[str, str, str]] = {
    "success": ("POST", "/loans", '{"name": "b", "reader": "ann"}'),
    "success with text beyond ASCII": ("POST", "/loans", '{"name": "Größe ☕", "reader": "ann"}'),
    "refusal": ("POST", "/loans", '{"name": "lost", "reader": "ann"}'),
    "failure": ("POST", "/loans", '{"name": "burning", "reader": "ann"}'),
    "acceptance": ("DELETE", "/loans/b", ""),
    "completion": ("POST", "/loans/b:renew", ""),
    "refusal at completion": ("POST", "/loans/lost:renew", ""),
}
ELSEWHERE: Mapping[str, tuple[str, str, str]] = {
    "superseded": ("POST", "/loans", '{"name": "b", "reader": "ann"}'),
    "superseded by another payload": ("POST", "/loans", '{"name": "b", "reader": "bob"}'),
}
"""Asked of a gateway with a log of its own, after another one has taken the key with ann's payload."""


async def ask(client: httpx.AsyncClient, name: str, request: Sequence[str]) -> httpx.Response:
    method, path, body = request
    headers = {"idempotency-key": f"key of {name}", "traceparent": TRACEPARENT}
    return await client.request(method, path, content=body.encode() or None, headers=headers)


async def first_answers(data_dir: Path) -> dict[str, Answers]:
    """Run every scenario. The log of `data_dir` then has a saga for each."""
    async with served(data_dir) as other:
        for name in ELSEWHERE:
            assert (await ask(other.client, name, ELSEWHERE["superseded"])).status_code == 201
    (data_dir / "saga-log.db").unlink()
    async with served(data_dir) as running:
        asked = {**REQUESTS, **ELSEWHERE}
        answers = {name: shown(await ask(running.client, name, request)) for name, request in asked.items()}
        await running.engine.wait_until_idle()
    return answers


async def replays(running: Served) -> dict[str, Answers]:
    """What is answered to the same requests once their sagas are over."""
    asked = {**REQUESTS, **ELSEWHERE}
    return {name: shown(await ask(running.client, name, request)) for name, request in asked.items()}
