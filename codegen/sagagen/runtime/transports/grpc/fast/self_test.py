"""Whether the quick way for frames fits the h2 that is installed: tried once, at the start of a process that uses gRPC.

pyproject.toml holds h2 to the versions that the tests have seen. Whoever installs another one all the same gets h2's
own connection, and a line in the log, rather than frames that nobody has looked at.
"""

from functools import cache
from importlib.metadata import version
from typing import Any

import structlog
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), ("te", "trailers"), ("key", "ü")]
_ANSWER = [(":status", "200"), ("content-type", "application/grpc+proto")]
_TRAILERS = [("grpc-status", "0"), ("grpc-message", "ü")]
_BODY = b"\0\0\0\0\5hello"

Transcript = list[Any]


@cache
def is_as_h2() -> bool:
    """Unary calls come to the same with it as with h2 alone. Says so in the log, once, if they do not."""
    try:
        from sagagen.runtime.transports.grpc.fast.frames import UnaryConnection
        from sagagen.runtime.transports.grpc.fast.headers import compiled
    except Exception as error:  # noqa: BLE001 - a name that is gone may show as anything
        return _refused(repr(error))
    if not compiled:  # jh2 has no wheel for this platform: nothing is wrong
        return False
    return _refused(reason) if (reason := difference(UnaryConnection)) else True


def _refused(reason: str) -> bool:
    _logger.warning("calls go h2's own way: the quick one does not fit it", h2=version("h2"), reason=reason)
    return False


def difference(quick: type[H2Connection]) -> str:
    """What is not as in h2's own connection, on either side of it or on both; empty if nothing."""
    try:
        expected = transcript(H2Connection, H2Connection)
        for client, server in ((quick, quick), (quick, H2Connection), (H2Connection, quick)):
            if transcript(client, server) != expected:
                return f"calls from {client.__name__} to {server.__name__} differ"
    except Exception as error:  # noqa: BLE001 - as above
        return repr(error)
    return ""


def transcript(client_class: type[H2Connection], server_class: type[H2Connection]) -> Transcript:
    """What both sides are told in two calls, the second of them refused, and what is left of them after that."""
    client, server = client_class(_config(is_client=True)), server_class(_config(is_client=False))
    for side in (client, server):
        side.initiate_connection()
    told = [_deliver(client, server), _deliver(server, client), _deliver(client, server)]
    for number, answers in ((1, True), (3, False)):
        client.send_headers(number, _REQUEST)
        client.send_data(number, _BODY, end_stream=True)
        told.append(_deliver(client, server))
        server.send_headers(number, _ANSWER)
        if answers:
            server.send_data(number, _BODY)
        server.send_headers(number, _TRAILERS, end_stream=True)
        told.append(_deliver(server, client))
    return [told, *(_left(side) for side in (client, server))]


def _deliver(sender: H2Connection, receiver: H2Connection) -> Transcript:
    events = receiver.receive_data(sender.data_to_send())
    for event in events:
        if isinstance(event, DataReceived) and event.stream_id and event.flow_controlled_length:
            receiver.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    return [_plain(event) for event in events]


def _plain(event: Event | None) -> Any:
    if event is None:
        return None
    headers = [(name, value) for name, value in getattr(event, "headers", None) or ()]
    ended = getattr(event, "stream_ended", None)
    return (
        type(event),
        getattr(event, "stream_id", None),
        headers,
        getattr(event, "data", None),
        _plain(ended),
    )


def _left(side: H2Connection) -> Transcript:
    return [
        side.open_inbound_streams,
        side.open_outbound_streams,
        side.outbound_flow_control_window,
        side.inbound_flow_control_window,
        side.state_machine.state,
    ]


def _config(*, is_client: bool) -> H2Configuration:
    """As grpclib's, but for text, which ours takes as UTF-8."""
    return H2Configuration(
        client_side=is_client,
        header_encoding="utf-8",
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )
