"""Stop work that waits in another thread, such as for a model's next word.

A generator cannot be closed while it runs elsewhere. So whoever begins to wait says how the wait is
cut short (close the connection), and a `Stop` that is set does all of that at once.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

_current: ContextVar["Stop | None"] = ContextVar("stop", default=None)


class Stop:
    """A signal to stop that cuts short what is waited for; safe from several threads."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._cuts: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether the work is to stop."""
        return self._set.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the work is to stop, for some time; return whether it is."""
        return self._set.wait(timeout_s)

    def set(self) -> None:
        """Stop the work: everything that was given to `on_set` is called."""
        self._set.set()
        with self._lock:
            cuts, self._cuts = self._cuts, []
        for cut in cuts:
            cut()

    def on_set(self, cut: Callable[[], None]) -> None:
        """Have `cut` called when this is set; at once if it is."""
        with self._lock:
            self._cuts.append(cut)
        if self.is_set():
            self.set()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Make this the one that stops what is begun inside, in this thread."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def is_stopped() -> bool:
    """Whether what runs here is to stop; what it raises then is no fault."""
    stop = _current.get()
    return stop is not None and stop.is_set()


def wait_for_stop(timeout_s: float) -> bool:
    """Wait for some time, but no longer than until what runs here is to stop; whether it is."""
    stop = _current.get()
    if stop is not None:
        return stop.wait(timeout_s)
    time.sleep(timeout_s)
    return False


def cut_on_stop(request: "httpx.Request") -> None:
    """Have the connection of a request closed when its answer is stopped.

    To be called for each request, as one of an `httpx.Client`'s hooks; without a `Stop` that is
    watching, it does nothing.
    """
    stop = _current.get()
    if stop is None:
        return

    def trace(event: str, details: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):  # httpcore's names
            connection = details["return_value"].get_extra_info("socket")
            stop.on_set(lambda: _shut(connection))

    request.extensions["trace"] = trace


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        # Wakes the thread that reads from it. Not the method of a TLS socket, which would take
        # its state away from under that thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
