"""HTTP over TLS: the same protocol, behind a handshake with the certificate of today."""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from uvicorn import Config

from sagagen.runtime.trust.accepting import Handshakes
from sagagen.runtime.trust.rereading import Certificates


class SecuredProtocols:
    """What uvicorn makes for each connection of one server."""

    def __init__(
        self, protocol: Callable[..., asyncio.Protocol] | Literal["h11"], certificates: Certificates
    ) -> None:
        self._protocol = protocol
        self._certificates = certificates
        self._handshakes: Handshakes | None = None

    def __call__(self, **parts: Any) -> asyncio.Protocol:
        """As uvicorn calls it: with the same parts each time."""
        if self._handshakes is None:
            assert not isinstance(self._protocol, str), "uvicorn makes its own protocols itself"
            protocol = partial(self._protocol, **parts)
            self._handshakes = Handshakes(lambda: self._certificates.current.server, protocol)
        return self._handshakes.accept()

    def prepare(self, config: Config) -> None:
        """Uvicorn's own protocols it wraps itself, in a context that it keeps: each handshake goes on with today's."""
        if self._protocol != "h11":
            return
        config.http = "h11"
        config.load()
        config.ssl = self._certificates.folder.read().server
        config.ssl.sni_callback = self._change_context

    def close(self) -> None:
        """End handshakes that are not over."""
        if self._handshakes is not None:
            self._handshakes.close()

    def _change_context(self, end: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        end.context = self._certificates.current.server
