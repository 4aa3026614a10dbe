"""Stand-ins for what is slow: they keep to the same protocols."""

import re
import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_tools.chunk import Chunk

DIMENSION = 64
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


class FakeEncoder:
    """An `Embedder` without a model: each word adds one to the dimension that its hash picks.

    :ivar embedded: how many texts of more than a line it was given so far: those of chunks, where
        their names are a line each.
    """

    name = "fake-encoder"
    dimension = DIMENSION

    def __init__(self, fingerprint: str = "fake-fingerprint") -> None:
        self.fingerprint = fingerprint
        self.embedded = 0

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts; shape (n_texts, 64), unit length, float32."""
        self.embedded += sum("\n" in text for text in texts)
        vectors = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text) or [""]:
                vectors[row, zlib.crc32(word.lower().encode()) % DIMENSION] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """Embed a question as any other text; shape (64,), unit length, float32."""
        vector: npt.NDArray[np.float32] = self.embed([text])[0]
        return vector


class MakeChunk(Protocol):
    """Makes a chunk; type of the fixture `make_chunk`."""

    def __call__(
        self,
        text: str = "def take(self) -> bool:\n    return self.tokens > 0\n",
        *,
        repo: str = "limits",
        commit: str = "c" * 40,
        path: str = "src/bucket.py",
        start_line: int = 1,
        end_line: int | None = None,
        language: str = "python",
        symbol: str = "",
    ) -> Chunk:
        """Return a chunk.

        :param end_line: by default the one that `text` ends on.
        """
