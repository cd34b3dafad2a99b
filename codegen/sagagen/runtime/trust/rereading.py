"""Certificates of a process while it runs: read again whenever their files change.

Files are looked at every POLL_S seconds. A set that does not fit, since half of it is written or it is wrong, changes
nothing: the one before stays until a better one is there. What is open then lives on; connections are renewed by those
who made them (`transports/grpc/renewing.py`).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import structlog

from sagagen.runtime.telemetry.metrics import CERTIFICATE_EXPIRES
from sagagen.runtime.trust.folder import CertificateError, CertificateFolder, Credentials

POLL_S = 2.0
"""Time in seconds between two looks at the files."""
NEAR = 0.1
"""A certificate with less of its life left is warned of."""
WARN_EVERY_S = 3600.0

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Certificates:
    """Of one folder."""

    def __init__(self, folder: CertificateFolder, clock_s: Callable[[], float] = time.time) -> None:
        """`clock_s`: seconds since the epoch. Raises CertificateError."""
        self.folder = folder
        self._clock_s = clock_s
        self._signature = folder.signature()
        self.current: Credentials = folder.read()
        """Another object after each change."""
        self._wrong: object = None
        """The signature of files that did not fit at the last look."""
        self._is_told_of_wrong = False
        self._warned_at_s = float("-inf")
        self._tell()

    @classmethod
    @asynccontextmanager
    async def watched(
        cls, folder: CertificateFolder, *, poll_s: float = POLL_S
    ) -> AsyncGenerator["Certificates"]:
        """Read them, and again whenever they change, until the block is left. Raises CertificateError at the start."""
        certificates = cls(folder)
        watching = asyncio.create_task(certificates._watch(poll_s), name=f"watch {folder.path}")
        try:
            yield certificates
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    def look(self) -> None:
        """Read the files if they have changed."""
        signature = self.folder.signature()
        if signature != self._signature:
            self._read_again(signature)
        self._warn_when_near()

    def _read_again(self, signature: object) -> None:
        try:
            current = self.folder.read()
        except CertificateError as error:
            # Amid a change it is normal for a moment: only what is so at the next look too is told, and once.
            if signature == self._wrong and not self._is_told_of_wrong:
                self._is_told_of_wrong = True
                _logger.error("new certificates can't be used: those before stay", problem=str(error))
            elif signature != self._wrong:
                self._wrong, self._is_told_of_wrong = signature, False
            return
        self._signature, self._wrong, self.current = signature, None, current
        self._warned_at_s = float("-inf")
        _logger.info("certificates were read again", folder=str(self.folder.path))
        self._tell()

    def _tell(self) -> None:
        CERTIFICATE_EXPIRES.labels(self.folder.variable).set(self.current.expires_s)

    def _warn_when_near(self) -> None:
        now_s = self._clock_s()
        left = self.current.left(now_s)
        if left >= NEAR or now_s - self._warned_at_s < WARN_EVERY_S:
            return
        self._warned_at_s = now_s
        hours = (self.current.expires_s - now_s) / 3600
        what = "expires soon" if hours > 0 else "has expired"
        _logger.warning(
            f"a certificate {what}: put a new one into its folder, which is read again by itself",
            folder=str(self.folder.path),
            hours_left=round(hours, 1),
        )

    async def _watch(self, poll_s: float) -> None:
        while True:
            try:
                self.look()
            except Exception:
                _logger.exception("certificates could not be looked at")
            await asyncio.sleep(poll_s)
