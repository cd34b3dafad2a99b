"""Secrets of the environment, and of files that change while a process runs.

A setting that is a secret is read from VARIABLE or from the file that VARIABLE_FILE names. A file may be exchanged
under a running process: it is looked at again, at most once a second. While one secret takes another's place both are
valid, one on each line: the first is used, all are accepted. What a file says is repeated in no error and in no repr.
"""

import hmac
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from sagagen.runtime.startup import SettingsError

MIN_SECRET_BYTES = 32
"""As many as a MAC by it has (RFC 2104, section 3: a shorter key is no good one)."""
MAX_VALID = 2
"""Secrets that are valid at once: one, and the one that takes its place."""
LOOK_AGAIN_S = 1.0
"""Time in seconds that a file is not looked at again."""

ContentT = TypeVar("ContentT")

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class SecretFile(Generic[ContentT]):
    """What a file holds now. It is parsed again once it has changed; a change of no use leaves what was there."""

    def __init__(
        self,
        path: Path,
        variable: str,
        parse: Callable[[bytes], ContentT],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`variable` names the setting in errors. `parse` raises ValueError, whose text must not repeat a secret.

        Raises SettingsError for a file that can't be read, or whose content is of no use.
        """
        self._path = path
        self._variable = variable
        self._parse = parse
        self._monotonic_s = monotonic_s
        self._seen = self._mark()
        self._content = self._read()
        self._looked_s = monotonic_s()
        self._complaint = ""

    def __repr__(self) -> str:
        return f"SecretFile({self._variable})"

    def content(self) -> ContentT:
        """What the file holds, at most LOOK_AGAIN_S seconds old."""
        if self._monotonic_s() - self._looked_s >= LOOK_AGAIN_S:
            self.look_again()
        return self._content

    def look_again(self) -> bool:
        """Look at the file at once; true if it has changed. For a secret that nobody knows here yet."""
        self._looked_s = self._monotonic_s()
        try:
            mark = self._mark()
            if mark == self._seen:
                return False
            # Marked as seen even if it is of no use: what is wrong is said once, and the next change is another.
            self._seen = mark
            self._content = self._read()
        except SettingsError as error:
            self._complain(str(error))
            return False
        self._complaint = ""
        _logger.info("a file with secrets has changed and is used from now on", setting=self._variable)
        return True

    def _complain(self, problem: str) -> None:
        if problem != self._complaint:
            self._complaint = problem
            _logger.error("a file with secrets is of no use; what it held before is used", problem=problem)

    def _mark(self) -> tuple[int, int, int, int]:
        """What is another once the file is. A link to another file counts, as Kubernetes exchanges its secrets."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise SettingsError(f"{self._variable}: {self._path} can't be read: {error.strerror}") from error
        return found.st_mtime_ns, found.st_ino, found.st_dev, found.st_size

    def _read(self) -> ContentT:
        try:
            return self._parse(self._path.read_bytes())
        except OSError as error:
            raise SettingsError(f"{self._variable}: {self._path} can't be read: {error.strerror}") from error
        except ValueError as error:
            # Without the cause: the text of a parser's own error may hold a part of the content.
            raise SettingsError(f"{self._variable}: {self._path}: {error}") from None


class Secret:
    """A secret, and the one that takes its place: the first is used, each is accepted."""

    def __init__(self, name: str, values: Callable[[], tuple[bytes, ...]], file: Path | None = None) -> None:
        """`name` is the setting's. `values` are those that are valid now. Made by `read` or `of`."""
        self.name = name
        self.values = values
        self.file = file
        """Where it is kept; None for one that the environment holds."""
        self._look_again: Callable[[], bool] = _nothing_new

    @classmethod
    def of(cls, name: str, *values: bytes) -> "Secret":
        """One that does not change; of no value: nobody has it."""
        return cls(name, lambda: values)

    @classmethod
    def read(
        cls, environment: Mapping[str, str], variable: str, *, at_least: int = MIN_SECRET_BYTES
    ) -> "Secret | None":
        """From VARIABLE or VARIABLE_FILE, with at least so many bytes; None if neither is set. Raises SettingsError."""
        text, file = environment.get(variable, ""), environment.get(f"{variable}_FILE", "")
        if text and file:
            raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one")
        if text:
            try:
                return cls.of(variable, *parse_lines(text.encode(errors="surrogateescape"), at_least))
            except ValueError as error:
                raise SettingsError(f"{variable}: {error}") from None
        if not file:
            return None
        return cls.in_file(Path(file), variable, at_least=at_least)

    @classmethod
    def in_file(cls, path: Path, variable: str, *, at_least: int = MIN_SECRET_BYTES) -> "Secret":
        """Kept in this file, one secret on each line. Raises SettingsError."""
        kept = SecretFile(path, f"{variable}_FILE", lambda content: parse_lines(content, at_least))
        secret = cls(variable, kept.content, path)
        secret._look_again = kept.look_again
        return secret

    def __repr__(self) -> str:
        return f"Secret({self.name})"

    @property
    def current(self) -> bytes:
        """The one that is used."""
        return self.values()[0]

    def is_one(self, given: bytes) -> bool:
        """Whether it is valid now. Takes as long for each that is not."""
        found = False
        for value in self.values():
            found |= hmac.compare_digest(given, value)
        return found

    def look_again(self) -> bool:
        """Look at the file at once; true if it has changed."""
        return self._look_again()


def _nothing_new() -> bool:
    return False


def parse_lines(content: bytes, at_least: int = 1) -> tuple[bytes, ...]:
    """The secrets in a text: one on each line. Raises ValueError, which does not repeat them."""
    values = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not values:
        raise ValueError("no secret is in it; `openssl rand -hex 32` makes one")
    if len(values) > MAX_VALID:
        raise ValueError(
            f"it has {len(values)} secrets; at most {MAX_VALID} are valid at once, one on each line"
        )
    if short := [value for value in values if len(value) < at_least]:
        raise ValueError(
            f"a secret of {len(short[0])} bytes; it needs at least {at_least}: `openssl rand -hex 32` makes one"
        )
    return values
