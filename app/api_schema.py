"""What `/v1/chat/completions` and `/api/search` may be asked, as outside JSON is read.

OpenAI's fields are many. What would change the form of the reply (tools, several choices, JSON
schemas, sound) is refused, because a client would misread the answer. What only tunes how the
model writes is settled where the app is started: it is ignored, and the reply names it.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.answer import Strategy
from data_tools.secrets import redact
from retrieval.citations import without_citations
from retrieval.prompt import Turn

MAX_PASSAGES = 50
MAX_MESSAGES = 1_000


class Unsupported(ValueError):
    """A request asks for what cannot be given.

    :ivar param: the field that asks for it.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class Narrow(BaseModel):
    """Where to search, and how many passages to find."""

    model_config = ConfigDict(extra="forbid")

    repos: list[str] | None = Field(None, description="only these repositories")
    languages: list[str] | None = Field(None, description="only these languages")
    path: str | None = Field(None, description="only paths that match, as in .gitignore")
    k: int = Field(8, ge=1, le=MAX_PASSAGES, description="passages")

    def filters(self) -> dict[str, Any]:
        """Return arguments of `app.answer.answer` and `CodeIndex.search` alike."""
        return {
            "k": self.k,
            "repos": self.repos or None,
            "languages": self.languages or None,
            "path_glob": (self.path or "").strip() or None,
        }


class SearchRequest(Narrow):
    """A search without an answer."""

    query: str


class AnswerOptions(Narrow):
    """The field `codeqa` of a chat request: what OpenAI's fields have no words for."""

    strategy: Strategy = Field("direct", description="how the question is gone about")


class TextPart(BaseModel):
    """A part of a message."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        """Return what it says, without secrets that came along.

        :raises Unsupported: it holds something else than text.
        """
        if self.role in ("tool", "function") or (self.model_extra or {}).get("tool_calls"):
            raise Unsupported("tools are not called here: leave such messages out", "messages")
        if isinstance(self.content, str):
            return redact(self.content).text
        parts = self.content or []
        if other := next((part.type for part in parts if part.type != "text"), None):
            raise Unsupported(f"only text can be read, not {other[:40]}", "messages")
        return redact("\n".join(part.text for part in parts)).text


class StreamOptions(BaseModel):
    """What else is streamed."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A question, with the conversation before it."""

    model_config = ConfigDict(extra="allow")

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    model: str | None = Field(None, description="as /v1/models lists it; default: the app's")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = 1
    codeqa: AnswerOptions = Field(default_factory=AnswerOptions)

    def check_supported(self) -> None:
        """Refuse what would change the form of the reply.

        :raises Unsupported: with the field that asks for it.
        """
        if self.n not in (None, 1):
            raise Unsupported("there is one answer to a question: leave n out", "n")
        more = self.model_extra or {}
        for name in ("tools", "functions", "logprobs", "top_logprobs", "audio"):
            if more.get(name):
                raise Unsupported(f"{name} cannot be had here: leave it out", name)
        form = more.get("response_format") or {}
        if not isinstance(form, dict) or form.get("type", "text") != "text":
            raise Unsupported("answers are Markdown: leave response_format out", "response_format")
        if more.get("modalities") not in (None, ["text"]):
            raise Unsupported("answers are text: leave modalities out", "modalities")

    def question(self) -> str:
        """Return what is asked: the last message.

        :raises Unsupported: it is not a person's.
        """
        if self.messages[-1].role != "user":
            raise Unsupported("the last message must be the user's question", "messages")
        return self.messages[-1].text()

    def turns(self) -> list[Turn]:
        """Return what was said before, oldest first; citations of then mean nothing now.

        :raises Unsupported: a message holds something else than text.
        """
        turns: list[Turn] = []
        asked: list[str] = []
        for message in self.messages[:-1]:
            text = message.text()
            if message.role == "user":
                asked.append(text)
            elif message.role == "assistant" and asked:
                turns.append(Turn("\n".join(asked), without_citations(text)))
                asked = []
        return turns

    def ignored(self) -> list[str]:
        """Name what was sent and changes nothing."""
        instructions = any(message.role in ("system", "developer") for message in self.messages)
        given = [name for name, value in (self.model_extra or {}).items() if value is not None]
        return (["system message"] if instructions else []) + sorted(given)
