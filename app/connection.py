"""A connection that ends where the other side does not come to the point.

uvicorn reads headers of any length, for as long as they take, and goes on reading a body that
nobody wants any more. So a few hundred connections that dribble would keep everybody else out
(slow loris), and a single one could fill the memory. Here the headers and the body of a request
have a time and a size each; what exceeds them is cut off without a word. So is whoever takes
nothing of a reply: it would hold the answer, and a thread's or a follower's place, for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.request_body import MAX_BODY_BYTES

HEAD_S = 10.0  # for the request's line and headers
BODY_S = 60.0
MAX_HEAD_BYTES = 64_000  # counted when a piece has arrived, so a piece more than that can be there
MAX_DRAINED_BYTES = 4 * MAX_BODY_BYTES  # of a body that was refused, so that the refusal is read


class BoundedConnection(HttpToolsProtocol):
    """Reads requests that end in time and are of a sensible size.

    :cvar head_s: for the request's line and headers, in seconds.
    :cvar body_s: for its body, in seconds.
    :cvar stalled_s: how long nothing of a reply may be taken while more is held back, in seconds.
    """

    head_s = 10.0
    body_s = 60.0
    stalled_s = 60.0
    max_body_bytes = MAX_DRAINED_BYTES

    def __init__(self, *args: Any, **options: Any) -> None:
        """Make a connection; uvicorn says of what."""
        super().__init__(*args, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._most = MAX_HEAD_BYTES
        self._came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._allow(self.head_s, MAX_HEAD_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._rest()
        self._flow()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is too much of one request."""
        super().data_received(data)
        self._came += len(data)
        if self._deadline is not None and self._came > self._most:
            self._cut()

    def pause_writing(self) -> None:
        """The other side takes less than there is."""
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(self.stalled_s, self._cut)

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self._flow()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._allow(self.head_s, MAX_HEAD_BYTES)

    def on_headers_complete(self) -> None:
        """Its body follows, if it has one."""
        super().on_headers_complete()
        self._allow(self.body_s, self.max_body_bytes)

    def on_message_complete(self) -> None:
        """It is here as a whole."""
        self._rest()
        super().on_message_complete()

    def _allow(self, seconds: float, most_bytes: int) -> None:
        self._rest()
        self._came, self._most = 0, most_bytes
        self._deadline = self.loop.call_later(seconds, self._cut)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _flow(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _cut(self) -> None:
        self._rest()
        self._flow()
        if not self.transport.is_closing():
            self.transport.abort()
