"""grpclib's channel over our protocol, with pings."""

from dataclasses import replace

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol

from sagagen.runtime.transports.grpc.fast.protocol import MeshProtocol

KEEPALIVE = Configuration(
    # A machine that vanished sends no reset: without pings its connection would time out call after call for minutes.
    _keepalive_time=10.0,
    _keepalive_timeout=5.0,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=5.0,
)


def kept_alive(server: str | None) -> Configuration:
    """KEEPALIVE; `server` is what a server is called in a TLS handshake."""
    return replace(KEEPALIVE, ssl_target_name_override=server) if server else KEEPALIVE


class MeshChannel(Channel):
    """Its connections are MeshProtocols."""

    def _protocol_factory(self) -> H2Protocol:
        return MeshProtocol.instead_of(super()._protocol_factory())
