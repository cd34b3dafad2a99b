"""One form for every log line, ours and the libraries': JSON for machines, a readable one on a terminal.

Each line has time, level, message and service; within a request or a saga also trace_id, span_id, saga_id, step and
attempt, whoever logs it. What is known is looked up when a line is written, and not before.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from io import StringIO
from pathlib import Path
from typing import Any, Literal, cast

import structlog
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

import sagagen
from sagagen.runtime.escaping import escaped, escaped_lines
from sagagen.runtime.identity import is_saga_id
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.telemetry.console import Console, broken, clock, folded, short_id
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
    _at_terminal[:] = [] if as_json else [Console(sys.stderr)]
    stream = sys.stderr if as_json else _at_terminal[0]
    renderer = structlog.processors.JSONRenderer() if as_json else _Lines(_at_terminal[0], service)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(shared, renderer))
    if not as_json:
        handler.addFilter(_Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("uvicorn.error", "uvicorn.access", "hpack", "aiosqlite", "watchfiles"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


REPEATED_S = 30.0
"""How long a traceback is not shown again to a person, in seconds."""
_MOST_SEEN = 100
_OURS = str(Path(sagagen.__file__).parent)
EVERYTHING = "sagagen"
"""What `configure_logs` is told by a process that runs the whole mesh."""
_at_terminal: list[Console] = []
"""What this process tells people on, if it tells any."""


def console() -> Console | None:
    """Where a person reads what this process says; None if a program does. Follows `configure_logs`."""
    return _at_terminal[0] if _at_terminal else None


class _Repeats(logging.Filter):
    """A traceback that a person has just read is not written again: what is repeated fails in the same way."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for one of the last REPEATED_S seconds."""
        event = cast("dict[str, Any]", record.msg) if isinstance(record.msg, dict) else {}
        error = _exception(event.get("exc_info") or record.exc_info)
        if error is None:
            return True
        text, now_s = _traceback(error), time.monotonic()
        is_new = now_s - self._seen.get(text, -REPEATED_S) >= REPEATED_S
        if is_new:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[text] = now_s
        return is_new


class _Lines:
    """Renders log lines for a terminal: what others chose of them is escaped. JSON does that by itself.

    Without what is for programs: trace_id, which `sagagen sagas show` has, and the rest of a saga's id.

    Never with the values of variables in a traceback: payloads must not reach a log.
    """

    def __init__(self, console: Console, service: str) -> None:
        self._console = console
        self._service = service

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        level, error = event.pop("level", "info"), _exception(event.pop("exc_info", None))
        message = escaped(str(event.pop("event", "")))
        if level != "info":
            message = f"{level}: {message}"
        for name in ("time", "stack", "exception", "trace_id", "span_id"):
            event.pop(name, None)
        if event.get("service") == self._service == EVERYTHING:
            del event["service"]
        if "step" in event:
            event.pop("rpc", None)
        if is_saga_id(saga_id := str(event.get("saga_id"))):
            event["saga_id"] = short_id(saga_id)
        at, pairs = clock(), [f"{name}={_shown(value)}" for name, value in event.items()]
        message, used = broken(message, self._console.columns)
        more = folded(pairs, self._console.columns, used)
        colours = _LEVEL_COLOURS.get(level, ())
        line = f"{at}  {self._console.paint(message, *colours)}{self._console.paint(more, 'dim')}"
        return f"{line}\n{_traceback(error)}" if error else line


_LEVEL_COLOURS = {
    "debug": ("dim",),
    "warning": ("yellow",),
    "error": ("red", "bold"),
    "critical": ("red", "bold"),
}


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    shown = escaped(text)
    return shown if shown and " " not in shown else f'"{shown}"'


def _exception(given: object) -> ExcInfo | None:
    """What `exc_info` may be: an exception, what `sys.exc_info` returns, or that there is one."""
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if not given:
        return None
    kind, error, trace = cast("tuple[Any, Any, Any]", given) if isinstance(given, tuple) else sys.exc_info()
    return (kind, error, trace) if kind and error else None


def _traceback(error: ExcInfo) -> str:
    """From where the project's code begins, if it does. An exception's text may hold what a customer sent."""
    kind, raised, trace = error
    within = trace
    while within and within.tb_frame.f_code.co_filename.startswith(_OURS):
        within = within.tb_next
    plain = StringIO()
    structlog.dev.plain_traceback(plain, (kind, raised, within or trace))
    return escaped_lines(plain.getvalue().strip("\n"))


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
