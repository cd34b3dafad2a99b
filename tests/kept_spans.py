"""A processor of spans that keeps them for the test to look at."""

from typing import Any

from opentelemetry.sdk.trace import SpanProcessor

from sagagen.runtime.telemetry.spans import FinishedSpan


class KeptSpans(SpanProcessor):
    """Spans as they are handed on."""

    def __init__(self) -> None:
        self.spans: list[FinishedSpan] = []

    def on_end(self, span: Any) -> None:
        self.spans.append(span)
