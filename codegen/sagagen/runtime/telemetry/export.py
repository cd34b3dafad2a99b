"""Spans and log lines on their way to a collector, where OpenTelemetry's standard variables name one.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or that of one signal) turns it on; without it nothing is exported, and OpenTelemetry's
SDK is not even imported. A collector that does not answer costs one line of the log, and the batches that its queue has
no room for.
"""

import asyncio
import importlib
import logging
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import uuid4

import structlog

import sagagen
from sagagen.runtime.plain import is_plain
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.logs import forward_logs
from sagagen.runtime.telemetry.spans import GATEWAY, Spans, readable

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor

    from sagagen.runtime.telemetry.spans import OnEnd

FLUSH_S = 2.0
"""How long a stopping process waits at most for the last batches to leave."""
Signal = Literal["TRACES", "LOGS"]
Protocol = Literal["http/protobuf", "grpc"]
_EXPORTERS = {
    ("TRACES", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http.trace_exporter:OTLPSpanExporter",
    ("TRACES", "grpc"): "opentelemetry.exporter.otlp.proto.grpc.trace_exporter:OTLPSpanExporter",
    ("LOGS", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http._log_exporter:OTLPLogExporter",
    ("LOGS", "grpc"): "opentelemetry.exporter.otlp.proto.grpc._log_exporter:OTLPLogExporter",
}

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@asynccontextmanager
async def exporting(
    project: str, services: Sequence[str], environment: Mapping[str, str]
) -> AsyncGenerator[None]:
    """Export within the block what the environment asks for.

    `services` are those that this process runs, `gateway` among them: each gets a resource of its own, so that a trace
    looks the same whether they share a process or not. Leaving waits at most FLUSH_S. Raises SettingsError.
    """
    traces, logs = protocol_of("TRACES", environment), protocol_of("LOGS", environment)
    if not traces and not logs:
        yield
        return
    resources = {name: _resource(project, name) for name in services}
    main = resources.get(GATEWAY) or next(iter(resources.values()))
    _hush()
    stops: list[Any] = []
    if logs:
        stops.append(_export_logs(_quiet(_exporter_class("LOGS", logs)()), main))
    try:
        if not traces:
            yield
        else:
            spans, provider = _span_export(traces, main, resources)
            stops.append(provider)
            with tracing.recording(spans):
                yield
    finally:
        await _flush(stops)  # what a process says that fails is what one wants to read


def protocol_of(signal: Signal, environment: Mapping[str, str]) -> Protocol | None:
    """How a signal is exported; None: it is not. Raises SettingsError for what the variables can't mean."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    variable = f"OTEL_{signal}_EXPORTER"
    exporter = environment.get(variable, "") or "otlp"
    if exporter not in ("otlp", "none"):
        raise SettingsError(f'{variable}="{exporter}" is not supported; use otlp or none')
    general = "OTEL_EXPORTER_OTLP_ENDPOINT"
    has_endpoint = environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or environment.get(general)
    if exporter == "none" or not has_endpoint:
        return None
    own, general = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environment.get(own) or environment.get(general) or "http/protobuf"
    if protocol not in ("http/protobuf", "grpc"):
        raise SettingsError(f'{general}="{protocol}" is not supported; use http/protobuf or grpc')
    return protocol


def _exporter_class(signal: Signal, protocol: Protocol) -> type[Any]:
    """Its instances read endpoint, headers, certificates and timeout from the environment. Raises SettingsError."""
    name, _, kind = _EXPORTERS[signal, protocol].partition(":")
    try:
        return getattr(importlib.import_module(name), kind)
    except ImportError as error:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc needs its exporter: pip install 'sagagen[otlp-grpc]'"
        ) from error


def _span_processor(protocol: Protocol, resources: "Mapping[str, Resource]") -> "tuple[SpanProcessor, OnEnd]":
    """The one that exports, and how our spans are given to it."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter_class = _exporter_class("TRACES", protocol)
    if encoding := _encoding_exporter(exporter_class, protocol, resources):
        processor = BatchSpanProcessor(_quiet(encoding))
        return processor, cast("OnEnd", processor.on_end)
    processor = BatchSpanProcessor(_quiet(exporter_class()))
    return processor, lambda span: processor.on_end(readable(span, resources[span.service]))


def _encoding_exporter(
    exporter_class: type[Any], protocol: Protocol, resources: "Mapping[str, Resource]"
) -> Any | None:
    if is_plain("otlp"):
        return None
    from sagagen.runtime.telemetry.otlp_exporter import encoding

    exporter = encoding(exporter_class, protocol, resources)
    if exporter is None:
        _logger.info("spans are encoded by OpenTelemetry's exporter: the quick way does not fit it")
    return exporter


def _resource(project: str, service: str) -> "Resource":
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    own = {
        "service.namespace": project,
        "service.name": service,
        "service.version": sagagen.__version__,
        "service.instance.id": str(uuid4()),
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())


def _span_export(
    protocol: Protocol, main: "Resource", resources: Mapping[str, "Resource"]
) -> tuple[Spans, Any]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=main, shutdown_on_exit=False)
    processor, on_end = _span_processor(protocol, resources)
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)  # for spans that handlers make of their own
    return Spans(on_end, provider.sampler), provider


def _export_logs(exporter: Any, main: "Resource") -> Any:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=main, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    forward_logs(provider.get_logger("sagagen"))
    return provider


async def _flush(providers: Sequence[Any]) -> None:
    """In threads that nobody waits for when they are late: exporters retry for longer than a process may take."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def shut_down() -> None:
        for provider in providers:
            provider.shutdown()
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=shut_down, daemon=True, name="last telemetry").start()
    try:
        await asyncio.wait_for(done.wait(), FLUSH_S)
    except TimeoutError:
        _logger.warning("the last spans and log lines did not reach the collector in time")


def _quiet(exporter: Any) -> Any:
    """The same one, which says less. Any: there is one type for spans and one for log lines."""
    return _Quiet(exporter)


class _Quiet:
    """An exporter that tells of trouble once, and once of its end; not once a batch."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._is_failing = False

    def export(self, batch: Any) -> Any:
        result = self._exporter.export(batch)
        is_failing = result.name != "SUCCESS"
        if is_failing and not self._is_failing:
            _logger.warning("the telemetry collector does not answer; what it misses is lost")
        elif self._is_failing and not is_failing:
            _logger.info("the telemetry collector answers again")
        self._is_failing = is_failing
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)


def _hush() -> None:
    for noisy in ("opentelemetry", "urllib3", "grpc"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
