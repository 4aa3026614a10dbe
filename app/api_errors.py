"""Refusals as OpenAI's API writes them, so that its clients show them and know when to retry."""

import math

from starlette.responses import JSONResponse

from data_tools.errors import BusyError


def error_response(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> JSONResponse:
    """Say what is wrong.

    :param param: the field that is wrong.
    """
    kind = "invalid_request_error" if status < 500 else "api_error"
    if status == 429:
        kind = "rate_limit_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status)


def busy_response(error: BusyError) -> JSONResponse:
    """Say that more is asked than can be done, and in the header when to ask again."""
    response = error_response(429, str(error), code="rate_limit_exceeded")
    response.headers["Retry-After"] = retry_after(error)
    return response


def retry_after(error: BusyError) -> str:
    """Write how long to wait: whole seconds, at least one."""
    return str(max(1, math.ceil(error.retry_after_s)))
