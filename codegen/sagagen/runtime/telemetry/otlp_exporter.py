"""OpenTelemetry's exporters, with our encoder in the place of theirs.

Each is a subclass that uses one name which its class keeps to itself: `_client` over HTTP, which sends bytes, and
`_translate_data` over gRPC. An exporter that has it not, as those before 1.45 over HTTP, is used as it is.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.export import SpanExportResult

from sagagen.runtime.telemetry.otlp import SpanEncoder

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


def encoding(exporter_class: type[Any], protocol: str, resources: "Mapping[str, Resource]") -> Any | None:
    """An exporter of this class that takes our spans beside OpenTelemetry's; None if there can't be one."""
    encoder = SpanEncoder(resources)
    exporter = _MAKERS[protocol](exporter_class, encoder)
    return exporter if exporter is not None and _fits(encoder) else None


def _over_http(exporter_class: type[Any], encoder: SpanEncoder) -> Any | None:
    class Encoding(exporter_class):
        def export(self, spans: Any) -> SpanExportResult:
            sent = self._client.export(encoder.encode(spans).SerializePartialToString())
            return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    exporter = Encoding()
    if callable(getattr(getattr(exporter, "_client", None), "export", None)):
        return exporter
    exporter.shutdown()
    return None


def _over_grpc(exporter_class: type[Any], encoder: SpanEncoder) -> Any | None:
    if not hasattr(exporter_class, "_translate_data"):
        return None

    class Encoding(exporter_class):
        def _translate_data(self, data: Any) -> Any:
            return encoder.encode(data)

    return Encoding()


_MAKERS: Mapping[str, Callable[[type[Any], SpanEncoder], Any | None]] = {
    "http/protobuf": _over_http,
    "grpc": _over_grpc,
}


def _fits(encoder: SpanEncoder) -> bool:
    """A span comes to the same in both encoders: the messages of OTLP are those that ours was written for."""
    return encoder.is_as_theirs()
