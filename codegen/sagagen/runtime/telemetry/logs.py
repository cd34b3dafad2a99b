"""One form for every log line, ours and the libraries': JSON for machines, a readable one on a terminal.

Each line has time, level, message and service; within a request or a saga also trace_id, span_id, saga_id, step and
attempt, whoever logs it. What is known is looked up when a line is written, and not before.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from io import StringIO
from typing import Any, Literal, TextIO

import structlog
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from sagagen.runtime.escaping import escaped, escaped_lines
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.telemetry.spans import in_context

LogScope = Callable[[], Mapping[str, Any]]
"""What the lines of a task are about: `saga_id`, `trace_id` and so on."""

_scope: ContextVar[LogScope | None] = ContextVar("log scope", default=None)
_LEVELS = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}


def log_within(scope: LogScope) -> None:
    """Put what `scope` returns on every line of this task, and of those that it starts from now on."""
    _scope.set(scope)


def configure_logs(form: Literal["auto", "json", "console"], service: str) -> None:
    """Send all logging of this process to stderr. `service` stands on each line that is not of another one."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        *_known(service),
        structlog.processors.format_exc_info if as_json else _unchanged,
    ]
    if as_json:
        shared.insert(0, structlog.processors.EventRenamer("message"))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # Never the rich traceback: it prints locals, and with them payloads that must not reach a log.
    renderer = (
        structlog.processors.JSONRenderer()
        if as_json
        else _Console(
            structlog.dev.ConsoleRenderer(colors=_has_colours(), exception_formatter=_harmless_traceback)
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared, renderer))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("uvicorn.error", "uvicorn.access", "hpack", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _has_colours() -> bool:
    """On a terminal whose user wants them (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


class _Console:
    """Renders lines for a terminal: what others chose of them is escaped. JSON does that by itself."""

    def __init__(self, renderer: structlog.dev.ConsoleRenderer) -> None:
        self._renderer = renderer

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        shown = {name: escaped(value) if isinstance(value, str) else value for name, value in event.items()}
        return self._renderer(logger, method, shown)


def _harmless_traceback(out: TextIO, error: ExcInfo) -> None:
    """An exception's text may hold what a customer sent."""
    plain = StringIO()
    structlog.dev.plain_traceback(plain, error)
    out.write(escaped_lines(plain.getvalue()))


def forward_logs(otlp: Any) -> None:
    """Send every line to OpenTelemetry's logger `otlp` as well. Follows `configure_logs`."""
    root = logging.getLogger()
    of_stderr = root.handlers[0].formatter
    assert isinstance(of_stderr, structlog.stdlib.ProcessorFormatter), "configure_logs comes first"
    handler = _Forwarder(otlp)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=of_stderr.foreign_pre_chain, processors=[handler.send]
        )
    )
    root.addHandler(handler)


class _Forwarder(logging.Handler):
    """Hands lines on as they come out of the same processors that stderr's went through."""

    def __init__(self, otlp: Any) -> None:
        super().__init__()
        self._otlp = otlp

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("opentelemetry"):  # what is said about exporting is not exported
            self.format(record)

    def send(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """The last processor; there is nothing left to render."""
        record: logging.LogRecord = event.pop("_record")
        event.pop("_from_structlog", None)
        event.pop("time", None)
        message = event.pop("message", None) or event.pop("event", "")
        level = event.pop("level", "info")
        context = _context(event)
        self._otlp.emit(
            LogRecord(
                timestamp=round(record.created * 1e9),
                severity_text=level.upper(),
                severity_number=_LEVELS.get(level, SeverityNumber.INFO),
                body=str(message),
                attributes={name: _plain(value) for name, value in event.items()},
                context=context,
            )
        )
        return ""


def _formatter(shared: Any, last: Any) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )


def _known(service: str) -> list[Processor]:
    def add_scope(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name, value in _about().items():
            event.setdefault(name, value)
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_scope,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]


def _about() -> Mapping[str, Any]:
    """What this line is about, from the nearest that knows: the task's scope, and the span that is under way."""
    scope = _scope.get()
    known: Mapping[str, Any] = scope() if scope else {}
    span = get_current_span().get_span_context()
    if not span.is_valid or "trace_id" in known:
        return known
    return {**known, "trace_id": format_trace_id(span.trace_id), "span_id": format_span_id(span.span_id)}


def _context(event: EventDict) -> Context | None:
    """Of the span that the line names."""
    if "trace_id" not in event or "span_id" not in event:
        return None
    return in_context(TraceContext(event["trace_id"], event["span_id"]))


def _plain(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _unchanged(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return event
