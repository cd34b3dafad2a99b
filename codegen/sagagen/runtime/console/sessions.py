"""Sessions: the key or the token of a log-in, kept for as long as the browser keeps a random id.

A browser sends no `Authorization` by itself when somebody follows a link. So the log-in keeps what would stand there,
in memory alone, and the gate is shown it again at each request: a token that is no longer good opens nothing any more.
The id is not the token, and says nothing of it. docs/decisions/252-sessions-of-the-console.md
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

IDLE_S = 30 * 60.0
"""Time in seconds without a request after which a session is over. An open page that is live makes requests."""
LASTS_S = 12 * 3600.0
"""Time in seconds after which a session is over, whatever was done in it."""
MAX_SESSIONS = 1000
"""Beyond them the one that was not used for longest is over."""
_MIN_ID_LENGTH = 40


@dataclass(slots=True)
class Session:
    headers: Mapping[str, str] = field(repr=False)
    """What is shown to the gate, by lower-case names."""
    began_s: float
    used_s: float


class Sessions:
    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now_s = monotonic_s
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def __len__(self) -> int:
        return len(self._sessions)

    @staticmethod
    def new_id() -> str:
        """For a browser that has none; it is no session until something is kept under it."""
        return secrets.token_urlsafe(32)

    @staticmethod
    def is_id(text: str) -> bool:
        """It looks like one of ours."""
        return len(text) >= _MIN_ID_LENGTH and text.isascii()

    def begin(self, headers: Mapping[str, str]) -> str:
        """Its id, which was never seen before: an id that somebody planted in a browser is worth nothing."""
        session_id, now_s = self.new_id(), self._now_s()
        self._sessions[session_id] = Session(headers, now_s, now_s)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session_id

    def find(self, session_id: str) -> Session | None:
        """And count it as used. None: there is none, or it is over."""
        session, now_s = self._sessions.get(session_id), self._now_s()
        if session is None:
            return None
        if now_s - session.used_s > IDLE_S or now_s - session.began_s > LASTS_S:
            del self._sessions[session_id]
            return None
        session.used_s = now_s
        self._sessions.move_to_end(session_id)
        return session

    def end(self, session_id: str) -> None:
        """A repeat does nothing."""
        self._sessions.pop(session_id, None)

    def csrf_token(self, session_id: str) -> str:
        """What every form of this browser has to send back. Another page can neither read it nor guess it."""
        return hmac.new(self._key, session_id.encode(), sha256).hexdigest()

    def is_csrf_token(self, session_id: str, given: str) -> bool:
        return hmac.compare_digest(self.csrf_token(session_id).encode(), given.encode(errors="replace"))


ATTEMPTS = 5
"""Log-ins within WINDOW_S, from one address, that failed or have no answer yet; another one waits."""
WINDOW_S = 60.0
MAX_ADDRESSES = 1000


class LogInAttempts:
    """Log-ins that failed lately, or have no answer yet, by address."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now_s = monotonic_s
        self._begun: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long in seconds until another one may be tried; 0: now."""
        begun = self._recent(address)
        return max(0.0, begun[-ATTEMPTS] + WINDOW_S - self._now_s()) if len(begun) >= ATTEMPTS else 0.0

    def begin(self, address: str) -> None:
        """It counts as failed until it has succeeded."""
        self._begun[address] = [*self._recent(address), self._now_s()]
        self._begun.move_to_end(address)
        if len(self._begun) > MAX_ADDRESSES:
            self._begun.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """One that was begun counts no more."""
        if begun := self._begun.get(address):
            begun.pop()

    def _recent(self, address: str) -> list[float]:
        return [at_s for at_s in self._begun.get(address, ()) if self._now_s() - at_s < WINDOW_S]
