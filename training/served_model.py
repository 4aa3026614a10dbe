"""A language model behind an OpenAI-compatible server, such as vLLM, for evaluation.

Answers come from `/chat/completions`, eight asked for at once. Scores of texts come from
`/completions` with `echo` and `logprobs`, which vLLM has and many servers have not: then there
are no scores. The key is `OPENAI_API_KEY`. Nothing else is asked for.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from data_tools.errors import LanguageModelError
from data_tools.privacy import tell_no_more
from data_tools.text import split_lines
from training.answering import Prompt, clean_answer
from training.bits_per_byte import TextScore

if TYPE_CHECKING:
    import openai

IN_FLIGHT = 8  # requests at once: enough that a GPU need not wait for us
RETRIES = 3  # of what may pass, after 0.5, 1 and 2 seconds, or when the server says
TIMEOUT_S = 300.0  # of one answer
PIECE_CHARS = 4_000  # of a text that is scored at once: about 1,000 tokens, which any context takes
DETAIL_CHARS = 200  # of a server's own words, in an error
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
_TOO_LONG = re.compile(r"context.?(length|window|size)|too long|max\w*.{0,20}tokens", re.IGNORECASE)


class ServedModel:
    """A model of a server; asked for nothing until it is needed."""

    is_identified = False
    window = PIECE_CHARS
    context_tokens: int | None = None  # servers do not agree on how to tell it

    def __init__(self, url: str, model: str | None, *, max_tokens: int) -> None:
        """Read the address, `http://HOST:PORT/v1`.

        :param model: which of the server's models; None if it has one.
        :param max_tokens: the longest answer.
        :raises LanguageModelError: it is no such address, or there is no such model.
        """
        self._base_url, self._host = _read_url(url)
        self._max_tokens = max_tokens
        self._model = model or self._only_model()
        self._refuses_scores = False
        self.name = f"{self._base_url}#{self._model}"
        digest = hashlib.sha256(f"{self.name} {max_tokens}".encode()).hexdigest()
        self.fingerprint = f"served-{digest}"

    def plan(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Divide prompts in their order."""
        numbers = list(range(len(prompts)))
        return [numbers[at : at + IN_FLIGHT] for at in range(0, len(numbers), IN_FLIGHT)]

    def answer(self, prompts: Sequence[Prompt]) -> list[str | None]:
        """Answer one batch, all at once.

        :raises LanguageModelError: the server does not answer as it should.
        """
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            return list(pool.map(self._answer_one, prompts))

    def score(self, texts: Sequence[str]) -> list[TextScore] | None:
        """Score texts by pieces of `PIECE_CHARS`, each without what is before it.

        So figures are higher than those of a model that sees whole windows: compare only models
        that are served alike.

        :return: None if the server tells no probabilities of a prompt's tokens.
        :raises LanguageModelError: the server does not answer.
        """
        pieces = [(at, piece) for at, text in enumerate(texts) for piece in cut_pieces(text)]
        if self._refuses_scores:
            return None
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            scores = list(pool.map(lambda piece: self._score_one(piece[1]), pieces))
        sums = [TextScore(0.0, 0, 0) for _ in texts]
        for (at, _), score in zip(pieces, scores, strict=True):
            if score is None:
                self._refuses_scores = True
                return None
            sums[at] = TextScore(
                sums[at].nats + score.nats,
                sums[at].tokens + score.tokens,
                sums[at].size_bytes + score.size_bytes,
            )
        return sums

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        del self._client

    def _answer_one(self, prompt: Prompt) -> str | None:
        import openai

        try:
            answer = self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": each["role"], "content": each["content"]} for each in prompt],  # type: ignore[misc]
                max_completion_tokens=self._max_tokens,
                temperature=0.0,
            )
            return clean_answer(answer.choices[0].message.content or "")
        except openai.BadRequestError as error:
            if _TOO_LONG.search(str(error)):
                return None
            raise self._explain(error) from error
        except openai.APIError as error:
            raise self._explain(error) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:  # a page, other JSON
            raise self._not_a_server() from error

    def _score_one(self, piece: str) -> TextScore | None:
        import openai

        try:
            answer = self._client.completions.create(
                model=self._model,
                prompt=piece,
                max_tokens=1,  # 0 is not taken by every server; it is left out below
                echo=True,
                logprobs=1,
                temperature=0.0,
            )
            found = answer.choices[0].logprobs
            if found is None or not found.tokens or not found.token_logprobs:
                return None
            count = answer.usage.prompt_tokens if answer.usage else len(found.tokens) - 1
            return _sum_up(piece, found.tokens[:count], found.token_logprobs[:count])
        except (openai.BadRequestError, openai.NotFoundError, openai.UnprocessableEntityError):
            return None
        except openai.APIError as error:
            raise self._explain(error) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise self._not_a_server() from error

    def _only_model(self) -> str:
        import openai

        try:
            names = [str(entry.id) for entry in self._client.models.list().data]
        except openai.APIError as error:
            raise self._explain(error) from error
        except (AttributeError, TypeError, ValueError) as error:
            raise self._not_a_server() from error
        if len(names) == 1:
            return names[0]
        listed = ", ".join(names) or "none"
        raise LanguageModelError(
            f"choose one of the models at {self._base_url} with --model: {listed}"
        )

    @cached_property
    def _client(self) -> "openai.OpenAI":
        import openai

        timeout = openai.Timeout(TIMEOUT_S, connect=10.0)
        trust_proxies = self._host not in LOOPBACK_HOSTS  # a proxy cannot see our localhost
        return openai.OpenAI(
            base_url=self._base_url,
            api_key=os.environ.get("OPENAI_API_KEY", "").strip() or "none",
            timeout=timeout,
            max_retries=RETRIES,
            http_client=openai.DefaultHttpxClient(
                timeout=timeout, trust_env=trust_proxies, event_hooks={"request": [tell_no_more]}
            ),
        )

    def _explain(self, error: "openai.APIError") -> LanguageModelError:
        """Say what went wrong between us and the server, and what to do about it."""
        import openai

        again = "; then run it again: what was answered is kept"
        if isinstance(error, openai.APITimeoutError):
            return LanguageModelError(
                f"{self._base_url} answers too slowly: see if it is busy{again}"
            )
        if isinstance(error, openai.APIConnectionError):
            return LanguageModelError(
                f"nothing answers at {self._base_url}: start the server{again}"
            )
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return LanguageModelError(
                f"{self._base_url} refuses us (HTTP {status}): set OPENAI_API_KEY to its key"
            )
        if status == 404:
            return LanguageModelError(
                f"{self._base_url} has no such model (HTTP 404): correct --model or the URL"
            )
        detail = " ".join(re.sub(r"^Error code: \d+( - )?", "", str(error)).split())[:DETAIL_CHARS]
        return LanguageModelError(
            f"{self._base_url} gave up (HTTP {status}: {detail}): look at its log{again}"
        )

    def _not_a_server(self) -> LanguageModelError:
        return LanguageModelError(
            f"{self._base_url} does not speak the OpenAI protocol: give the base URL, which mostly "
            "ends in /v1"
        )


def _read_url(text: str) -> tuple[str, str]:
    """Base URL and host."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # a port that is no number shows when it is read
    except ValueError:
        host = None
    if not host or url.query or url.fragment or "@" in url.netloc:
        raise LanguageModelError(
            "--url is no base URL: write it as http://HOST:PORT/v1, without a password; a key "
            "is read from OPENAI_API_KEY"
        )
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/') or '/v1'}", host


def cut_pieces(text: str) -> list[str]:
    """Cut a text into pieces of at most `PIECE_CHARS`, at ends of lines where there are any."""
    pieces = [""]
    for line in split_lines(text):
        for at in range(0, len(line), PIECE_CHARS):
            part = line[at : at + PIECE_CHARS]
            if len(pieces[-1]) + len(part) > PIECE_CHARS:
                pieces.append("")
            pieces[-1] += part
    return [piece for piece in pieces if piece]


def _sum_up(
    piece: str, tokens: Sequence[str], log_shares: Sequence[float | None]
) -> TextScore | None:
    """Add up a piece; bytes of a first token that has no probability are not counted."""
    size_bytes = len(piece.encode("utf-8"))
    if log_shares[0] is None and piece.startswith(tokens[0]):  # else it is a token before the text
        size_bytes -= len(tokens[0].encode("utf-8"))
    known = [share for share in log_shares if share is not None]
    if len(known) < len(log_shares) - 1:
        return None
    return TextScore(-sum(known), len(known), size_bytes)
