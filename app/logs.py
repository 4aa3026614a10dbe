"""What the server logs, and to which request a line belongs.

A request has an id: its caller's `X-Request-ID`, or one made for it. It is in the reply, in every
line that is logged on its behalf, whichever thread does so, and in what the model's server is sent,
so that one search through all logs tells the whole story. What people ask is not logged unless that
is wanted; nor is any address's query string, which may hold it.
"""

import logging
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from data_tools.secrets import redact

if TYPE_CHECKING:
    import httpx

HEADER = "X-Request-ID"

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # else a caller could write lines of its own
_request: ContextVar[str] = ContextVar("request", default="")


@dataclass(frozen=True)
class LogOptions:
    """What is logged, and how.

    :param as_json: a line of JSON for each event, from INFO on; else warnings, as text.
    :param questions: with the questions' text.
    """

    as_json: bool = False
    questions: bool = False


_options = LogOptions()


def configure_logs(options: LogOptions) -> None:
    """Write this process's logs to stderr from now on; called once, where a server starts."""
    global _options
    _options = options
    handler = _Handler(sys.stderr)
    handler.addFilter(_add_request)
    handler.setFormatter(_json_formatter() if options.as_json else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("app").setLevel(logging.INFO if options.as_json else logging.WARNING)
    logging.captureWarnings(options.as_json)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines without secrets, wherever they came from: a library's error, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record)).text


_TEXT = "%(levelname)s: %(message)s"


def _json_formatter() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message", "request"],
        rename_fields={"levelname": "level", "name": "logger", "timestamp": "time"},
        timestamp=True,
        json_ensure_ascii=True,  # whatever a repository's name holds, a line is one line
    )


def _add_request(record: logging.LogRecord) -> bool:
    record.request = _request.get()
    return True


def log_questions() -> bool:
    """Whether questions are logged with their text."""
    return _options.questions


def new_request(given: str = "") -> str:
    """Return a request's id: the one that was given if it can be one, else a new one."""
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def current_request() -> str:
    """Return the id of the request that is worked on here; "" if none is."""
    return _request.get()


@contextmanager
def working_on(request: str) -> Iterator[None]:
    """Do what is done inside, in this thread, on behalf of a request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def name_request(request: "httpx.Request") -> None:
    """Tell a model's server on whose behalf it is asked; one of an `httpx.Client`'s hooks."""
    if identifier := _request.get():
        request.headers[HEADER] = identifier
