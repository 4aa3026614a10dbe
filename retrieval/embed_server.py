"""An embedding model behind an OpenAI-compatible server, such as vLLM on a machine with a GPU.

Only `/models` and `/embeddings` are asked for. Texts go in batches, several at once; what may
pass (a busy server, a timeout) is tried again. The key is `OPENAI_API_KEY`: it is not taken from
the address, because an index notes the address of the model that made it.
"""

import hashlib
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from data_tools.errors import EmbedderError
from data_tools.privacy import tell_no_more
from retrieval.embedder import Vectors, to_unit

if TYPE_CHECKING:
    import openai

BATCH_TEXTS = 32  # of one request
IN_FLIGHT = 8  # requests at once: enough that a GPU need not wait for us
RETRIES = 3  # after 0.5, 1 and 2 seconds, or when the server says
TIMEOUT_S = 60.0  # of one request
SHORTEST_CHARS = 64  # a text this short that is too long for the model is its fault, not the text's
PROBE = "def probe(model): return the vector of this text"
PROBE_BITS = 16  # two models agree on them by chance once in 65,000
DETAIL_CHARS = 200  # of a server's own words, in an error
SECRET_CHARS = 8  # a shorter key is a word such as EMPTY, and no secret
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
_TOO_LONG = re.compile(
    r"context.?(length|window|size)|too long|max\w{0,20}.{0,20}tokens", re.IGNORECASE
)


class ServerEmbedder:
    """A model of an OpenAI-compatible server; asked for nothing until it is needed."""

    def __init__(
        self, address: str, *, timeout_s: float = TIMEOUT_S, retries: int = RETRIES
    ) -> None:
        """Read the address, `http://HOST:PORT/v1#MODEL`; the model may be left out.

        :raises EmbedderError: it is not such an address, or holds a password.
        """
        self.base_url, self._wanted, host = _read_address(address)
        self._timeout_s = timeout_s
        self._retries = retries
        self._trust_proxies = host not in LOOPBACK_HOSTS  # a proxy cannot see our localhost
        self._asking = threading.RLock()

    @property
    def name(self) -> str:
        """The address with the model, and without anything secret."""
        return f"{self.base_url}#{self.model}"

    @property
    def model(self) -> str:
        """The model's name, as the server calls it.

        :raises EmbedderError: none was named, and the server has not just one.
        """
        with self._asking:
            return self._wanted or self._only_model

    @property
    def fingerprint(self) -> str:
        """Hash of the model's name, of the dimension, and of how one text is turned to a vector.

        The last is rounded to signs, because servers compute in low precision. So another model
        under the same name is noticed; a move to another address is none.
        """
        signs = [bool(part.sum() > 0) for part in np.array_split(self._probe, PROBE_BITS)]
        facts = f"{self.model}\0{self.dimension}\0{signs}"
        return f"server-{hashlib.sha256(facts.encode()).hexdigest()[:32]}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return len(self._probe)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed what is searched; shape (n_texts, dimension), unit length, float32.

        :raises EmbedderError: the server does not answer, or not with such vectors.
        """
        batches = [texts[at : at + BATCH_TEXTS] for at in range(0, len(texts), BATCH_TEXTS)]
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            found = list(pool.map(self._embed_batch, batches))
        return np.concatenate([np.zeros((0, self.dimension), np.float32), *found])

    def embed_query(self, text: str) -> Vectors:
        """Embed a question; shape (dimension,), unit length, float32.

        :raises EmbedderError: as `embed` does.
        """
        vector: Vectors = self._embed_batch([text])[0]
        return vector

    def close(self) -> None:
        """Close its connections; it can be asked again, over new ones."""
        client: openai.OpenAI | None = vars(self).pop("_client", None)
        if client:
            client.close()

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        vectors = self._ask(texts)
        if vectors.shape != (len(texts), self.dimension):
            raise EmbedderError(
                f"{self.base_url} gave vectors of shape {vectors.shape} for {len(texts)} texts, "
                f"not of {self.dimension} dimensions: another model is served; index anew"
            )
        return vectors

    def _ask(self, texts: Sequence[str]) -> Vectors:
        """Ask once; a text that is too long for the model is halved until it is not."""
        import openai

        try:
            answer = self._client.embeddings.create(
                model=self.model,
                input=[text or " " for text in texts],  # nothing at all is refused
                encoding_format="float",  # not every server knows the client's own default
            )
            rows = sorted(answer.data, key=lambda row: row.index)
            vectors = np.array([row.embedding for row in rows], dtype=np.float32)
        except openai.BadRequestError as error:
            longest = max(map(len, texts))
            if not _TOO_LONG.search(str(error)) or longest <= SHORTEST_CHARS:
                raise self._explain(error) from error
            if len(texts) > 1:  # each alone: what becomes of it must not hang on its neighbours
                return np.concatenate([self._ask([text]) for text in texts])
            return self._ask([texts[0][: longest // 2]])
        except openai.APIError as error:
            raise self._explain(error) from error
        except (AttributeError, TypeError, ValueError) as error:  # a page, or JSON of another kind
            raise self._not_a_server() from error
        if vectors.ndim != 2 or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise EmbedderError(
                f"{self.base_url} gave vectors that are empty or no numbers: look at its log"
            )
        return to_unit(vectors)

    @property
    def _probe(self) -> Vectors:
        with self._asking:
            return self._probed_once

    @cached_property
    def _probed_once(self) -> Vectors:
        vector: Vectors = self._ask([PROBE])[0]
        return vector

    @cached_property
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
        raise EmbedderError(
            f"{self.base_url} serves {len(names)} models; choose one with --embedder "
            f"{self.base_url}#MODEL: {_one_line(', '.join(names))}"
        )

    @cached_property
    def _client(self) -> "openai.OpenAI":
        import openai

        key = os.environ.get("OPENAI_API_KEY", "").strip() or "none"
        if not (key.isascii() and key.isprintable()):
            raise EmbedderError("OPENAI_API_KEY holds characters that no key has: set it again")
        timeout = openai.Timeout(self._timeout_s, connect=min(self._timeout_s, 10.0))
        return openai.OpenAI(
            base_url=self.base_url,
            api_key=key,
            timeout=timeout,
            max_retries=self._retries,
            http_client=openai.DefaultHttpxClient(
                timeout=timeout,
                trust_env=self._trust_proxies,
                event_hooks={"request": [tell_no_more]},
            ),
        )

    def _explain(self, error: "openai.APIError") -> EmbedderError:
        """Say what went wrong between us and the server, and what to do about it."""
        import openai

        again = "; then run it again: what was embedded is kept"
        if isinstance(error, openai.APITimeoutError):
            return EmbedderError(f"{self.base_url} answers too slowly: see if it is busy{again}")
        if isinstance(error, openai.APIConnectionError):
            return EmbedderError(f"nothing answers at {self.base_url}: start the server{again}")
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return EmbedderError(
                f"{self.base_url} refuses us (HTTP {status}): set OPENAI_API_KEY to its key"
            )
        if status == 404:
            return EmbedderError(
                f"{self.base_url} has no embedding model {self._wanted or 'to list'} (HTTP 404): "
                "write --embedder as http://HOST:PORT/v1#MODEL"
            )
        detail = _one_line(re.sub(r"^Error code: \d+( - )?", "", str(error)))
        return EmbedderError(
            f"{self.base_url} gave up (HTTP {status}: {detail}): look at its log{again}"
        )

    def _not_a_server(self) -> EmbedderError:
        return EmbedderError(
            f"{self.base_url} does not speak the OpenAI protocol: give the base URL, which mostly "
            "ends in /v1, and check that no sign-in page is in between"
        )


def _read_address(text: str) -> tuple[str, str, str]:
    """Base URL, model or "", host."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # a port that is no number shows when it is read
    except ValueError:
        host = None
    if not host or url.query:
        raise EmbedderError("--embedder is no such address: write it as http://HOST:PORT/v1#MODEL")
    if "@" in url.netloc:
        raise EmbedderError(
            "--embedder holds a password, which the index would note: leave it out, and put the "
            "key into OPENAI_API_KEY"
        )
    path = url.path.rstrip("/").removesuffix("/embeddings") or "/v1"
    return f"{url.scheme}://{url.netloc}{path}", url.fragment, host


def _one_line(text: str) -> str:
    """Make a server's text safe to show: one line, printable, cut, and without the key."""
    text = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if len(key) >= SECRET_CHARS:
        text = text.replace(key, "***")
    return text if len(text) <= DETAIL_CHARS else text[: DETAIL_CHARS - 1] + "…"
