"""What the API answers, as `/openapi.json` describes it to whoever writes a client.

Descriptions only: the replies themselves are made where they are known (`app.records`,
`app.api_openai`), and a test holds every reply against these.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Fault(_Reply):
    """What is wrong, in OpenAI's words."""

    message: str = Field(description="one line that names the fix")
    type: Literal["invalid_request_error", "rate_limit_error", "api_error"]
    param: str | None = Field(description="the field that is wrong")
    code: str | None


class Refusal(_Reply):
    """A request that was not answered."""

    error: Fault


class Passage(_Reply):
    """Lines of a file that were found."""

    rank: int = Field(ge=1)
    score: float
    repo: str
    commit: str
    path: str
    start_line: int = Field(ge=1)
    end_line: int = Field(ge=1)
    symbol: str
    language: str
    url: str | None
    text: str


class SearchReply(_Reply):
    """Passages, best first."""

    results: list[Passage]
    words_only: bool = Field(description="the vectors are not made yet")


class ModelEntry(_Reply):
    """A model that can be asked."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["codeqa"]


class ModelList(_Reply):
    """The models that can be asked."""

    object: Literal["list"]
    data: list[ModelEntry]


class Choice(_Reply):
    """The answer; its message has the fields `evidence`, `citations` and `codeqa` too."""

    index: Literal[0]
    message: dict[str, Any]
    finish_reason: Literal["stop"]
    logprobs: None


class Completion(_Reply):
    """An answer that is not streamed."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice] = Field(min_length=1, max_length=1)
    usage: dict[str, int] | None


class Readiness(_Reply):
    """What can be asked now."""

    ready: bool
    index: Literal["nothing", "words", "everything"]
    building: bool
    model: Literal["none", "ok", "unreachable"]


Responses = dict[int | str, dict[str, Any]]

SEARCHED: Responses = {200: {"model": SearchReply}}
LISTED: Responses = {200: {"model": ModelList}}
READY: Responses = {200: {"model": Readiness}, 503: {"model": Readiness}}
COUNTED: Responses = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
ANSWERED: Responses = {
    200: {"model": Completion, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
REFUSED: Responses = {
    status: {"model": Refusal, "description": why}
    for status, why in {
        400: "something in the request is wrong",
        401: "the server's token is missing: send it as `Authorization: Bearer …`",
        403: "a page of another site asks",
        404: "there is no such route or model",
        405: "the route is not asked this way",
        413: "the request is too long",
        421: "the server is not asked by its name",
        429: "too much is asked: wait as long as `Retry-After` says",
        500: "a fault of the server's",
        502: "the language model does not answer",
        503: "there is no index yet, or it cannot be read",
    }.items()
}
