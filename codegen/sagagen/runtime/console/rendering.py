"""Templates, and the filters by which they show what others wrote, times and statuses."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from sagagen.runtime.admin.words import age
from sagagen.runtime.escaping import escaped, escaped_lines

ROOM = "sagagen.runtime.console"
STATIC = {"console.css": "text/css", "console.js": "text/javascript", "mark.svg": "image/svg+xml"}


@cache
def environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(ROOM),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        shown=shown,
        shown_lines=shown_lines,
        ago=ago,
        time=exact,
        status=status,
        number=number,
        took=took,
        short=short,
        sentence=sentence,
    )
    made.globals.update(asset=asset)
    return made


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """Raises jinja2.UndefinedError for a name that the values lack."""
    return environment().get_template(template).render(values)


@cache
def static_file(name: str) -> bytes:
    return (files(ROOM) / "static" / name).read_bytes()


@cache
def asset(name: str) -> str:
    """The name of a file of ours, below the console; it changes with its content, so that browsers may keep it."""
    return f"static/{name}?v={sha256(static_file(name)).hexdigest()[:12]}"


def shown(text: object) -> str:
    r"""What others wrote, on one line: what can't be printed is text (`\x1b`). Autoescape makes it safe as HTML."""
    return "" if text is None else escaped(str(text))


def shown_lines(text: object) -> str:
    return "" if text is None else escaped_lines(str(text))


def exact(at: str | None) -> Markup:
    """An ISO time, exactly, in UTC."""
    if not at:
        return Markup("")
    words = at.replace("T", " ").replace("Z", " UTC")
    return Markup('<time datetime="{}">{}</time>').format(at, words)


def ago(at: str | None) -> Markup:
    """An ISO time as how long ago it was, or in how long it comes; its title is the time itself."""
    if not at:
        return Markup("")
    seconds = time.time() - datetime.fromisoformat(at).timestamp()
    return Markup('<time datetime="{}" title="{}" data-ago>{}</time>').format(
        at, at.replace("T", " ").replace("Z", " UTC"), in_words(seconds)
    )


def in_words(seconds: float) -> str:
    """`5m10s ago`, `in 12s`, `now`."""
    if abs(seconds) < 1:
        return "now"
    return f"in {age(-seconds)}" if seconds < 0 else f"{age(seconds)} ago"


def took(ms: int | None) -> str:
    """`0.8 ms` is below what a log knows: `< 1 ms`, `12 ms`, `3.4 s`, `5m10s`."""
    if ms is None:
        return ""
    if ms < 1:
        return "< 1 ms"
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s" if ms < 60_000 else age(ms / 1000)


def short(saga_id: str) -> str:
    """The beginning of a UUID, which a command line takes for the whole; other ids as they are."""
    is_uuid = len(saga_id) == 36 and saga_id[8] == "-"
    return saga_id[:13] if is_uuid else saga_id


def sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def number(value: float | None) -> str:
    """With thin spaces between thousands; a dash for what nobody knows."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


class Look(NamedTuple):
    tone: str
    """A class of console.css: `good`, `bad`, `back`, `going`, `calm`."""
    icon: str
    word: str


LOOKS: Mapping[str, Look] = {
    "RUNNING": Look("going", "▶", "running"),
    "COMPENSATING": Look("back", "↶", "compensating"),
    "COMPLETED": Look("good", "✓", "completed"),
    "COMPENSATED": Look("back", "↩", "compensated"),
    "SUPERSEDED": Look("calm", "⇉", "superseded"),
    "STUCK": Look("bad", "■", "stuck"),
    "UNREADABLE": Look("bad", "?", "unreadable"),
    "PENDING": Look("calm", "·", "not yet"),
    "DONE": Look("good", "✓", "done"),
    "REFUSED": Look("bad", "✕", "refused"),
    "NOT_CALLED": Look("calm", "–", "not called"),
    "IN_DOUBT": Look("back", "?", "unknown"),
    "PASSED_OVER": Look("calm", "–", "nothing to undo"),
    "GAVE_UP": Look("bad", "»", "skipped (may have happened)"),
    "WAITING": Look("going", "◷", "waiting"),
    "SKIPPED": Look("calm", "–", "not needed"),
    "TIMED_OUT": Look("back", "◷", "timed out"),
    "REPEATED": Look("calm", "=", "was done before"),
    "DENIED": Look("bad", "✕", "denied"),
    "UNKNOWN": Look("bad", "?", "unknown person"),
    "FAILED": Look("bad", "✕", "failed"),
}


def status(name: str, word: str = "") -> Markup:
    """With its icon, so that nobody needs the colour."""
    look = LOOKS.get(name, Look("calm", "·", name.lower().replace("_", " ")))
    return Markup('<span class="status {}"><span class="icon" aria-hidden="true">{}</span>{}</span>').format(
        look.tone, look.icon, escape(word or look.word)
    )


def now_iso() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
