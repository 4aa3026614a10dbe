"""What an embedding model is to the rest: the `Embedder` protocol. No models, no libraries."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors; the same text always gives the same vector.

    Safe to use from several threads.
    """

    @property
    def name(self) -> str:
        """How `open_embedder` finds it again: a folder, a name, or a server's address."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that shapes the vectors: weights, token window, prompts."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed what is searched; shape (n_texts, dimension), unit length, float32."""

    def embed_query(self, text: str) -> Vectors:
        """Embed a question; shape (dimension,), unit length, float32."""


def to_unit(vectors: Vectors) -> Vectors:
    """Scale rows to length 1; shape (n, dimension), float32. A row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
