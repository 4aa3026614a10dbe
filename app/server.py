"""A web server in a thread of this process: up when it is made, down when it is closed."""

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from app.connection import BoundedConnection
from app.ports import address, check_port, free_port
from data_tools.errors import PortInUseError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

CONNECTIONS_AT_ONCE = 800  # each is an open file, of which a process may have 1,024 or so
CLOSE_S = 1  # for answers on their way, once the server is told to end


class Server:
    """Serves an app until it is closed.

    :ivar url: where it is reached from this machine.
    """

    def __init__(self, app: "ASGIApp", *, host: str, port: int) -> None:
        """Start to serve; connections are taken when this returns.

        :param port: 0 takes a free one.
        :raises PortInUseError: the port is taken, or the host is not this machine's.
        """
        check_port(host, port)
        port = port or free_port(host)
        self.url = address(host, port)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,  # `app.logs` says how
            log_level="warning",
            access_log=False,
            ws="none",
            http=BoundedConnection,
            limit_concurrency=CONNECTIONS_AT_ONCE,
            server_header=False,
            timeout_graceful_shutdown=CLOSE_S,
        )
        self._server = uvicorn.Server(config)  # in a thread, it leaves signals alone
        self._thread = threading.Thread(target=self._server.run, name="server", daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise PortInUseError(f"cannot serve at {host}:{port}: the log above says why")
            time.sleep(0.005)

    def wait(self) -> None:
        """Wait until it ends, which Ctrl-C brings about."""
        with contextlib.suppress(KeyboardInterrupt):
            while self._thread.is_alive():
                self._thread.join(0.5)

    def close(self) -> None:
        """Take no more connections, end those that there are, and wait; twice is no harm."""
        self._server.should_exit = True
        self._thread.join(CLOSE_S + 10)
