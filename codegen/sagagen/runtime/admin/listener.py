"""The admin listener of a process: is it alive, is it ready, and its metrics. A gateway's also has its sagas."""

from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sagagen.runtime.health import Readiness

Endpoint = Callable[[Request], Awaitable[Response]]


async def _nothing() -> None: ...


def admin_app(
    readiness: Readiness,
    routes: Sequence[BaseRoute] = (),
    *,
    before_metrics: Callable[[], Awaitable[None]] = _nothing,
    metrics_guard: Callable[[Endpoint], Endpoint] | None = None,
) -> Starlette:
    """`/healthz`: the process runs. `/readyz`: it accepts new work, or 503 and what is in the way. `/metrics`.

    `routes` are served beside them. `before_metrics` sets the gauges that are read only when Prometheus asks.
    `metrics_guard` says who may see the metrics; they name no saga and no caller, so everybody may unless it is set.
    """

    async def healthz(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> PlainTextResponse:
        problems = await readiness.problems()
        text = "\n".join(["not ready", *problems] if problems else ["ready"])
        return PlainTextResponse(f"{text}\n", status_code=503 if problems else 200)

    async def metrics(request: Request) -> Response:
        await before_metrics()
        # OpenMetrics for whoever asks for it, as Prometheus does: the older format has no place for exemplars.
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), headers={"content-type": content_type})

    shown = metrics_guard(metrics) if metrics_guard else metrics
    ours = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", shown)]
    return Starlette(routes=[*ours, *routes])
