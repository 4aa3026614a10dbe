"""A model behind an OpenAI-compatible server: find it, open it, explain its faults.

vLLM, llama.cpp, Ollama and hosted services agree on two calls, `/models` and
`/chat/completions`, and on little else. All that is asked for beyond them is to count tokens, and
a server that refuses is not asked again.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from app.logs import name_request
from app.stopping import cut_on_stop
from data_tools.errors import LanguageModelError
from data_tools.privacy import tell_no_more

if TYPE_CHECKING:
    import openai
    from langchain_core.language_models import BaseChatModel
    from langchain_openai import ChatOpenAI

QUICK_TIMEOUT_S = 10.0  # to connect or to list models takes a busy server less than one
DETAIL_CHARS = 200  # of a server's own words, in an error
SECRET_CHARS = 8  # a shorter key is a word such as EMPTY, and no secret
PLACEHOLDER_KEY = "none"  # the client insists on a key; a server without keys ignores it
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}

_COUNTING = re.compile(r"stream_options|include_usage")


@dataclass(frozen=True)
class Server:
    """An OpenAI-compatible server: where it is, and how it is asked. Opening it asks nothing.

    :param base_url: with its path, without credentials.
    :param credentials: user and password, where the URL held them.
    :param timeout_s: the longest wait for its next piece of text, in seconds.
    :param temperature: 0 is greedy.
    :param max_tokens: the longest answer, in tokens.
    """

    base_url: str
    credentials: tuple[str, str] | None = field(repr=False)
    host: str
    timeout_s: float
    temperature: float
    max_tokens: int

    def list_models(self, wanted: Sequence[str] = ()) -> tuple[str, ...]:
        """The names of its models, at least one; adapters after the models that they adapt.

        :param wanted: the names to take for served if the server keeps no list.
        :raises LanguageModelError: it does not answer, is no such server, or has no model.
        """
        import openai

        quick_s = min(self.timeout_s, QUICK_TIMEOUT_S)
        try:
            with openai.OpenAI(**self._client_options()).with_options(timeout=quick_s) as client:
                entries = client.models.list().data
            entries = sorted(entries, key=lambda entry: bool(getattr(entry, "parent", None)))
            names = tuple(dict.fromkeys(str(entry.id) for entry in entries))
        except openai.NotFoundError as error:
            if wanted:  # the first question will tell
                return tuple(wanted)
            raise LanguageModelError(
                f"{self.base_url} does not list its models: pass --model NAME, or correct the URL"
            ) from error
        except openai.APIError as error:
            raise explain(error, self.base_url, None) from error
        except (AttributeError, TypeError, ValueError) as error:  # a page, or JSON of another kind
            raise _not_a_server(self.base_url) from error
        if not names:
            raise LanguageModelError(f"{self.base_url} serves no model: load one there first")
        return names

    def open_model(self, name: str) -> "ChatOpenAI":
        """One of its models; whether it is served is not asked.

        :raises LanguageModelError: OPENAI_API_KEY is no key.
        """
        import openai
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(
            **self._client_options(),
            model=name,
            http_async_client=openai.DefaultAsyncHttpxClient(**self._http_options()),
            temperature=self.temperature,
            max_completion_tokens=self.max_tokens,
            streaming=True,
            stream_usage=True,
            use_responses_api=False,  # else a model's name may choose another protocol
        )

    def _client_options(self) -> dict[str, Any]:
        import openai

        http_options = self._http_options()
        return {
            "base_url": self.base_url,
            "api_key": _read_key(),
            "timeout": http_options["timeout"],
            "max_retries": 0,
            "http_client": openai.DefaultHttpxClient(
                **http_options, event_hooks={"request": [cut_on_stop, name_request, tell_no_more]}
            ),
        }

    def _http_options(self) -> dict[str, Any]:
        import openai

        return {
            "auth": self.credentials,
            # One connection an answer: one kept open may be closed by the server in the very
            # moment we ask, which looks as if it were down.
            "headers": {"Connection": "close"},
            "timeout": openai.Timeout(self.timeout_s, connect=min(self.timeout_s, QUICK_TIMEOUT_S)),
            "trust_env": self.host not in LOOPBACK_HOSTS,  # a proxy cannot see our localhost
        }


def find_server(url: str, *, timeout_s: float, temperature: float, max_tokens: int) -> Server:
    """Read a server's URL. For the options see `app.llm.open_chat_model`.

    :raises LanguageModelError: it is not a base URL.
    """
    base_url, credentials, host = _read_url(url)
    return Server(base_url, credentials, host, timeout_s, temperature, max_tokens)


def _read_url(text: str) -> tuple[str, tuple[str, str] | None, str]:
    """Base URL without credentials, the credentials as (user, password), the host."""
    malformed = LanguageModelError(
        "--llm is not a base URL: write it as http://HOST:PORT/v1, with no query"
    )
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # a port that is no number shows when it is read
    except ValueError:
        raise malformed from None  # its text may hold a password
    if not host or url.query or url.fragment:
        raise malformed
    credentials = None
    if url.username is not None:
        credentials = (unquote(url.username), unquote(url.password or ""))
    path = url.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    address = url.netloc.rpartition("@")[2]
    return f"{url.scheme}://{address}{path}", credentials, host


def _read_key() -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip() or PLACEHOLDER_KEY
    if not (key.isascii() and key.isprintable()):
        raise LanguageModelError("OPENAI_API_KEY holds characters that no key has: set it again")
    return key


def choose_model(server: Server, wanted: str | None) -> str:
    """The wanted model, or the only one.

    :raises LanguageModelError: there is none, or several; the server's names are listed.
    """
    names = server.list_models((wanted,) if wanted else ())
    if wanted is not None and wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    shown = one_line(", ".join(names))
    if wanted is None:
        raise LanguageModelError(
            f"{server.base_url} serves several models: choose one with --model: {shown}"
        )
    raise LanguageModelError(
        f"{server.base_url} does not serve {wanted}: choose with --model: {shown}"
    )


def refuses_to_count(error: Exception, chat: "BaseChatModel") -> bool:
    """Whether a server rejected a request for asking it to count; then it is asked no more."""
    import openai

    if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 422):
        return False
    if not getattr(chat, "stream_usage", False) or not _COUNTING.search(error.response.text):
        return False
    chat.stream_usage = False  # type: ignore[attr-defined]  # LangChain has it per model
    return True


def explain(error: Exception, base_url: str, model: str | None) -> LanguageModelError:
    """What went wrong between us and a server, and what to do about it."""
    import openai

    causes = _list_causes(error)
    kinds = {type(cause).__name__ for cause in causes}
    if isinstance(error, openai.APIStatusError):
        return LanguageModelError(_explain_status(error, base_url, model))
    if "ConnectTimeout" in kinds:
        return LanguageModelError(f"cannot reach {base_url}: check the address and the network")
    if isinstance(error, openai.APITimeoutError):
        return LanguageModelError(
            f"{base_url} sent nothing for too long: wait until it is less busy, or allow more time"
        )
    if kinds & {"ConnectError", "ProxyError"}:
        reason = one_line(_message(causes[-1]))
        return LanguageModelError(
            f"nothing answers at {base_url} ({reason}): start the server, or correct --llm"
        )
    if isinstance(error, openai.APIConnectionError | ConnectionError):
        return LanguageModelError(
            f"the answer from {base_url} broke off: ask again, and look at the server's log"
        )
    if isinstance(error, openai.APIError):  # an error inside the stream
        return LanguageModelError(
            f"{base_url} gave up: {one_line(_message(error))}: look at its log, then ask again"
        )
    return _not_a_server(base_url)


def _explain_status(error: "openai.APIStatusError", base_url: str, model: str | None) -> str:
    status, detail = error.status_code, one_line(_message(error))
    if status in (401, 403):
        return f"{base_url} refuses us (HTTP {status}): set OPENAI_API_KEY to a key it accepts"
    if status == 404:
        return f"{base_url} has no model {model} (HTTP 404): correct --model or the URL"
    if status == 413 or re.search(r"context.?(length|window|size)|too long", detail, re.IGNORECASE):
        return (
            f"the question and its evidence are too long for {model}: ask for fewer results, "
            f"or serve it with a longer context ({detail})"
        )
    if status == 429:
        return f"{base_url} is over its request limit (HTTP 429): wait a minute, then ask again"
    detail = f"HTTP {status}: {detail}" if detail else f"HTTP {status}"
    advice = "look at the server's log" if status >= 500 else "check that it fits this server"
    return f"{base_url} rejects the request ({detail}): {advice}"


def _not_a_server(base_url: str) -> LanguageModelError:
    return LanguageModelError(
        f"{base_url} does not speak the OpenAI protocol: give the base URL, which mostly ends in "
        "/v1, and check that no sign-in page is in between"
    )


def _list_causes(error: BaseException) -> list[BaseException]:
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    return causes


def _message(error: BaseException) -> str:
    text = str(getattr(error, "message", None) or error).removesuffix(".")
    return re.sub(r"^Error code: \d+( - )?", "", text)  # the client's words; ours say it too


def one_line(text: str) -> str:
    """A server's text, safe to show: one line, printable, cut, and without credentials."""
    text = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if len(key) >= SECRET_CHARS:
        text = text.replace(key, "***")
    text = re.sub(r"(?i)\b(bearer|basic) \S+|//[^/@ ]+@", "***", text)
    return text if len(text) <= DETAIL_CHARS else text[: DETAIL_CHARS - 1] + "…"
