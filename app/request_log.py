"""Gives every request its id, and logs what came of it: one line a request."""

import logging
import time
from typing import TYPE_CHECKING

from app.logs import HEADER, new_request, working_on

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)


class RequestLog:
    """Middleware around all others, so that what they refuse is logged too."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on under its id, which the reply holds."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.lower().encode(), b"").decode("latin-1")
        request = new_request(given)
        began_s = time.perf_counter()
        status = 0  # of a request whose client went before there was one

        async def send_with_id(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (HEADER.lower().encode(), request.encode())]
                message = {**message, "headers": headers}
            await send(message)

        with working_on(request):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                if log.isEnabledFor(logging.INFO):
                    fields = {
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "seconds": round(time.perf_counter() - began_s, 4),
                        "client": scope["client"][0] if scope.get("client") else "",
                    }
                    log.info("request", extra=fields)
