"""The frames of a unary call, read and written on a short way beside h2's.

A request is HEADERS and DATA; an answer is HEADERS, DATA and HEADERS (gRPC over HTTP/2). h2 makes an object of each
frame, takes it through two state machines and walks over its headers several times, which is more than half of what a
call costs. Frames of these kinds that a unary call has in that order are taken here at once, and what h2 knows of their
stream is brought to where its machines would have brought it. Whatever else there is goes to h2, before anything is
changed: other frames, frames in parts, streams in any other state, all that is against the rules of HTTP/2, but also
what is allowed and rare.
"""

# pyright: reportPrivateUsage=false
# What h2 knows of a stream has no other names. pyproject.toml holds h2 to one minor version for it.

from collections.abc import Iterable
from struct import Struct
from typing import Any

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import DataReceived, Event, RequestReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.stream import H2Stream, StreamClosedBy, StreamState
from h2.windows import WindowManager
from hpack import HeaderTuple, HPACKError, OversizedHeaderListError

from sagagen.runtime.transports.grpc.fast.headers import HeaderDecoder, HeaderEncoder

TextHeaders = list[tuple[str, str]]

_FRAME = Struct(">HBBBL")
"""A frame's first nine bytes (RFC 9113, 4.1): length in two parts, type, flags, stream."""
_DATA, _HEADERS, _CONTINUATION = 0, 1, 9
_END_STREAM, _END_HEADERS = 1, 4
_STREAM_ID = 0x7FFF_FFFF
"""The first bit is reserved."""
_UNCOUNTED = 256
"""Streams that may be there, open or reset, before h2 counts them.

It counts them for each new one, and drops those that were reset only then, so now and then it has to."""


class UnaryConnection(H2Connection):
    """h2's connection, of either side; takes, sends and reports what that does, byte for byte and event for event.

    Its headers are compressed by jh2, and text of UTF-8; what is no text is a ProtocolError.
    """

    def __init__(self, config: H2Configuration) -> None:
        config.header_encoding = "utf-8"  # grpclib asks for ASCII
        super().__init__(config)
        self.encoder: Any = HeaderEncoder()
        self.decoder: Any = HeaderDecoder(self.DEFAULT_MAX_HEADER_LIST_SIZE)
        self._is_client = config.client_side is True
        self._open = ConnectionState.CLIENT_OPEN if self._is_client else ConnectionState.SERVER_OPEN
        """From the first request on, until the connection ends."""
        self._note_settings()

    # Reading

    def receive_data(self, data: bytes) -> list[Event]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As H2Connection says; of bytes, which is what event loops have."""
        if self._is_amid_a_frame() or self.state_machine.state is not self._open:
            return self._leave(data)
        events: list[Event] = []
        position, size = 0, len(data)
        try:
            while position + _FRAME.size <= size:
                high, low, kind, flags, stream_id = _FRAME.unpack_from(data, position)
                begin = position + _FRAME.size
                end = begin + (high << 8 | low)
                if end > size or end - begin > self.max_inbound_frame_size:
                    break
                if not self._take(kind, flags, stream_id & _STREAM_ID, data[begin:end], events):
                    break
                position = end
        except ProtocolError as error:
            self._terminate_connection(error.error_code)
            raise
        if position < size:
            events.extend(self._leave(data[position:]))
        return events

    def _leave(self, data: bytes) -> list[Event]:
        """To h2, which lets out as it comes that headers are no text."""
        try:
            return super().receive_data(data)
        except UnicodeDecodeError as error:
            self._terminate_connection(ProtocolError.error_code)
            raise ProtocolError(f"Error decoding header block: {error}") from error
        finally:
            self._note_settings()

    def _note_settings(self) -> None:
        """What each new stream asks of both sides' settings. They change by frames only, which h2 reads: theirs when it
        comes, ours when the peer acknowledges them. Asking h2 takes nine functions.
        """
        ours, theirs = self.local_settings, self.remote_settings
        self._windows = ours.initial_window_size, theirs.initial_window_size
        asked = theirs if self._is_client else ours
        self._most_streams = min(asked.max_concurrent_streams, _UNCOUNTED)
        """Of the side that opens them."""

    def _is_amid_a_frame(self) -> bool:
        """Or amid a block of headers in several frames."""
        return bool(self.incoming_buffer._data or self.incoming_buffer._headers_buffer)

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> bool:
        """Whether the frame was one of ours; adds to `events` what came with it. Raises ProtocolError."""
        is_end = bool(flags & _END_STREAM)
        if kind == _DATA and flags & ~_END_STREAM == 0:
            return self._take_data(stream_id, payload, is_end, events)
        if kind == _HEADERS and flags & ~_END_STREAM == _END_HEADERS:
            if self._is_client:
                return self._take_answer(stream_id, payload, is_end, events)
            return self._take_request(stream_id, payload, is_end, events)
        return False

    def _take_request(self, stream_id: int, block: bytes, is_end: bool, events: list[Event]) -> bool:
        is_new = stream_id & 1 and stream_id > self.highest_inbound_stream_id
        if not is_new or is_end or len(self.streams) >= self._most_streams:
            return False
        headers = self._decode(block)
        stream = self._new_stream(stream_id)
        self.highest_inbound_stream_id = stream_id
        if _is_plain(headers):
            machine = stream.state_machine
            machine.state, machine.client, machine.headers_received = StreamState.OPEN, False, True
            events.append(RequestReceived(stream_id=stream_id, headers=headers))
        else:
            self._take_headers(stream, headers, is_end, events)
        return True

    def _take_answer(self, stream_id: int, block: bytes, is_end: bool, events: list[Event]) -> bool:
        stream = self.streams.get(stream_id)
        if stream is None or stream.state_machine.state is not StreamState.HALF_CLOSED_LOCAL:
            return False
        machine = stream.state_machine
        are_trailers = machine.headers_received
        if stream.request_method != b"POST" or (are_trailers and not is_end):
            return False
        headers = self._decode(block)
        if not _is_plain(headers):
            self._take_headers(stream, headers, is_end, events)
            return True
        ended = StreamEnded(stream_id=stream_id) if is_end else None
        if are_trailers:
            events.append(TrailersReceived(stream_id=stream_id, headers=headers, stream_ended=ended))
        else:
            machine.headers_received = True
            events.append(ResponseReceived(stream_id=stream_id, headers=headers, stream_ended=ended))
        if ended:
            events.append(ended)
            self._close(stream, StreamClosedBy.RECV_END_STREAM)
        return True

    def _take_headers(
        self, stream: H2Stream, headers: TextHeaders, is_end: bool, events: list[Event]
    ) -> None:
        """Headers that say something of the stream itself, by h2."""
        encoded = [HeaderTuple(name.encode(), value.encode()) for name, value in headers]
        frames, came = stream.receive_headers(encoded, is_end, self.config.header_encoding)
        self._prepare_for_sending(frames)
        events.extend(came)

    def _take_data(self, stream_id: int, data: bytes, is_end: bool, events: list[Event]) -> bool:
        stream = self.streams.get(stream_id)
        if stream is None or stream._expected_content_length is not None:
            return False
        machine = stream.state_machine
        if machine.state not in _RECEIVES[self._is_client] or not machine.headers_received:
            return False
        if self._is_client and is_end:  # trailers do that
            return False
        size = len(data)
        both, its = self._inbound_flow_control_window_manager, stream._inbound_window_manager
        if size > both.current_window_size or size > its.current_window_size:
            return False
        both.current_window_size -= size
        its.current_window_size -= size
        stream._actual_content_length += size
        ended = StreamEnded(stream_id=stream_id) if is_end else None
        events.append(
            DataReceived(stream_id=stream_id, data=data, flow_controlled_length=size, stream_ended=ended)
        )
        if ended:
            events.append(ended)
            if machine.state is StreamState.OPEN:
                machine.state = StreamState.HALF_CLOSED_REMOTE
            else:
                self._close(stream, StreamClosedBy.RECV_END_STREAM)
        return True

    def _decode(self, block: bytes) -> Any:
        """TextHeaders. Any: the events of h2 say that they hold bytes, and hold text where its config asks for it."""
        try:
            return self.decoder.decode_text(block)
        except OversizedHeaderListError as error:
            raise DenialOfServiceError(f"Oversized header block: {error}") from error
        except HPACKError as error:
            raise ProtocolError(f"Error decoding header block: {error}") from error

    def acknowledge_received_data(self, acknowledged_size: int, stream_id: int) -> None:
        """As H2Connection says."""
        both, stream = self._inbound_flow_control_window_manager, self.streams.get(stream_id)
        its = stream._inbound_window_manager if stream and stream.open else None
        is_known = its is not None or stream_id in self._closed_streams
        if is_known and _has_room(both, acknowledged_size) and _has_room(its, acknowledged_size):
            both._bytes_processed += acknowledged_size
            if its:
                its._bytes_processed += acknowledged_size
        else:
            super().acknowledge_received_data(acknowledged_size, stream_id)

    # Writing

    def send_headers(
        self, stream_id: int, headers: Iterable[Any], end_stream: bool = False, *priority: Any, **named: Any
    ) -> None:
        """As H2Connection says."""
        stream = self.streams.get(stream_id)
        pairs = list(headers)
        is_ours = self.state_machine.state is self._open and not priority and not named
        if is_ours and self._is_client and self._is_request(stream_id, pairs, end_stream):
            stream = self._new_stream(stream_id)
            self.highest_outbound_stream_id = stream_id
            machine = stream.state_machine
            machine.state, machine.client, machine.headers_sent = StreamState.OPEN, True, True
            stream.request_method = b"POST"
        elif is_ours and stream is not None and _is_answer(stream, pairs, end_stream):
            stream.state_machine.headers_sent = True
            if end_stream:  # what a closed stream has sent nobody asks any more
                self._close(stream, StreamClosedBy.SEND_END_STREAM)
        else:
            super().send_headers(stream_id, pairs, end_stream, *priority, **named)
            return
        self._send_block(stream_id, self.encoder.encode_text(pairs), end_stream)

    def _is_request(self, stream_id: int, headers: TextHeaders, is_end: bool) -> bool:
        is_next = stream_id & 1 and stream_id > self.highest_outbound_stream_id and not is_end
        return bool(is_next) and headers[0] == (":method", "POST") and len(self.streams) < self._most_streams

    def _send_block(self, stream_id: int, block: bytes, is_end: bool) -> None:
        largest = self.max_outbound_frame_size
        kind, end = _HEADERS, _END_STREAM if is_end else 0
        while len(block) > largest:
            self._send_frame(kind, end, stream_id, block[:largest])
            kind, end, block = _CONTINUATION, 0, block[largest:]
        self._send_frame(kind, end | _END_HEADERS, stream_id, block)

    def send_data(
        self, stream_id: int, data: bytes | memoryview, end_stream: bool = False, pad_length: Any = None
    ) -> None:
        """As H2Connection says."""
        stream, size = self.streams.get(stream_id), len(data)
        if (
            stream is None
            or pad_length is not None
            or self.state_machine.state is not self._open
            or stream.state_machine.state not in _SENDS[self._is_client]
            or size > min(self.outbound_flow_control_window, stream.outbound_flow_control_window)
            or size > self.max_outbound_frame_size
        ):
            super().send_data(stream_id, data, end_stream, pad_length)
            return
        self.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        if end_stream and stream.state_machine.state is StreamState.OPEN:
            stream.state_machine.state = StreamState.HALF_CLOSED_LOCAL
        elif end_stream:
            self._close(stream, StreamClosedBy.SEND_END_STREAM)
        self._send_frame(_DATA, _END_STREAM if end_stream else 0, stream_id, data)

    def _send_frame(self, kind: int, flags: int, stream_id: int, payload: bytes | memoryview) -> None:
        size = len(payload)
        self._data_to_send += _FRAME.pack(size >> 8, size & 0xFF, kind, flags, stream_id)
        self._data_to_send += payload

    # Streams

    def _new_stream(self, stream_id: int) -> H2Stream:
        stream = H2Stream(
            stream_id,
            config=self.config,
            inbound_window_size=self._windows[0],
            outbound_window_size=self._windows[1],
        )
        stream.max_outbound_frame_size = self.max_outbound_frame_size
        self.streams[stream_id] = stream
        return stream

    def _close(self, stream: H2Stream, by: StreamClosedBy) -> None:
        """At once, where h2 leaves it among the others until it counts them."""
        stream.state_machine.state, stream.state_machine.stream_closed_by = StreamState.CLOSED, by
        del self.streams[stream.stream_id]
        self._closed_streams[stream.stream_id] = by


_RECEIVES = {True: {StreamState.HALF_CLOSED_LOCAL}, False: {StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL}}
"""The states of a stream in which a client receives its answer, and a server a request: as below."""
_SENDS = {True: {StreamState.OPEN}, False: {StreamState.HALF_CLOSED_REMOTE, StreamState.OPEN}}
"""The states of a stream in which a client sends its request, and a server its answer.

A server may answer a request that has not ended: Restate's do so after the answer."""


def _is_plain(headers: TextHeaders) -> bool:
    """They say nothing that HTTP/2 makes a rule of: no length, no informational answer (RFC 9113, 8.1)."""
    named = dict(headers)
    return "content-length" not in named and not named.get(":status", "").startswith("1")


def _is_answer(stream: H2Stream, headers: TextHeaders, is_end: bool) -> bool:
    machine = stream.state_machine
    if machine.client is not False or machine.state not in _SENDS[False]:
        return False
    is_asked = machine.state is StreamState.HALF_CLOSED_REMOTE
    if machine.headers_sent:
        return is_asked and is_end and not machine.trailers_sent and not headers[0][0].startswith(":")
    return (is_asked or not is_end) and headers[0] == (":status", "200")


def _has_room(window: WindowManager | None, size: int) -> bool:
    """Whether h2 would leave the peer's window as it is when so much more has been read."""
    if window is None:
        return True
    return window.current_window_size > 0 and window._bytes_processed + size < window.max_window_size // 2
