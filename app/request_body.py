"""Bodies of requests, read whole before anything is done with them, up to a size.

Nothing here takes an upload: the longest body is a conversation as JSON. Bytes are counted as they
come, since a length that is announced may be wrong or missing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

MAX_BODY_BYTES = 4_000_000  # 200,000 letters, each escaped as JSON allows, and the history before


class BodyTooLargeError(Exception):
    """A body is longer than any that has a use."""


class ClientGoneError(Exception):
    """Whoever asked has gone before all was said."""


def has_body(scope: "Scope") -> bool:
    """Tell whether a request says that a body follows."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


async def read_body(scope: "Scope", receive: "Receive", max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Read a request's body.

    :raises BodyTooLargeError: it is too long, or is said to be.
    :raises ClientGoneError: it never ends.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and _is_above(max_bytes, value):
            raise BodyTooLargeError
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise BodyTooLargeError
        if not message.get("more_body", False):
            return bytes(body)


def replay(body: bytes, receive: "Receive") -> "Receive":
    """Make a `receive` that gives a body that was read, and then what comes after it."""
    given = False

    async def receive_again() -> "Message":
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _is_above(max_bytes: int, length: bytes) -> bool:
    return len(length) > 18 or int(length) > max_bytes
