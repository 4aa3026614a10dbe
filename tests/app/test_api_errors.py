"""Refusals: that there is too much to do is said alike everywhere, with when to ask again."""

import json

import pytest

from app.api_errors import error_response, retry_after
from app.api_openai import explain
from data_tools.errors import BusyError


def test_too_much_to_do_is_a_429_that_clients_wait_for() -> None:
    reply = explain(BusyError("64 questions wait: ask again in 8 s", retry_after_s=7.2))
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "8")
    error = json.loads(bytes(reply.body))["error"]
    assert error["type"] == "rate_limit_error"
    assert error["message"] == "64 questions wait: ask again in 8 s"


@pytest.mark.parametrize(("seconds", "said"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (59.1, "60")])
def test_nobody_is_told_to_ask_again_at_once(seconds: float, said: str) -> None:
    assert retry_after(BusyError("wait", retry_after_s=seconds)) == said


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "invalid_request_error"), (502, "api_error")],
)
def test_whose_fault_it_is_is_told_as_openai_does(status: int, kind: str) -> None:
    assert json.loads(bytes(error_response(status, "x").body))["error"]["type"] == kind
