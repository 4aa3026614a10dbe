"""What of a chunk is embedded: two views of it, averaged into one vector.

The text says what the chunk does, its names what it is called. A person asks for "the private
import checker" and the code says `PrivateImportChecker`: written out in words, the names are close
to the question though the text is not. One vector holds both, so a search costs no more.
"""

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from data_tools.chunk import Chunk
from retrieval.embedder import Vectors
from retrieval.lexical import split_words

NAMES_WEIGHT = 0.4  # of the names' vector, where the text's counts 1
MAX_FOLDERS = 2  # of a path, the innermost ones
HASH_BYTES = 16  # of SHA-256: collisions are out of reach at any size that fits a disk
MAX_NAMES = 6  # of one chunk: small definitions are chunked together


def text_view(chunk: Chunk) -> str:
    """Return the text of a chunk under a header that says where it stands."""
    header = f"{chunk.path} › {chunk.symbol}" if chunk.symbol else chunk.path
    return f"{header}\n{chunk.text}"


def names_view(chunk: Chunk) -> str:
    """Return what a chunk is called, in words: its path, then the symbols that it defines."""
    places = re.sub(r"\.\w+$", "", chunk.path).split("/")[-MAX_FOLDERS - 1 :]
    names = chunk.symbol.split(", ")[:MAX_NAMES]
    symbols = (" ".join(map(split_words, re.split(r"[.:›]+", name))) for name in names)
    return f"{' '.join(map(split_words, places))}: {'; '.join(symbols)}"


def hash_views(chunk: Chunk) -> bytes:
    """Hash all that shapes a chunk's vector: the key under which it is cached."""
    return hash_text(f"{text_view(chunk)}\0{names_view(chunk)}")


def hash_text(text: str) -> bytes:
    """Hash a text, lone surrogates and all; `HASH_BYTES` long."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()[:HASH_BYTES]


def embed_chunks(chunks: Sequence[Chunk], embed: Callable[[Sequence[str]], Vectors]) -> Vectors:
    """Embed both views of chunks and average them; shape (n_chunks, dimension), unit length.

    :param embed: texts to unit vectors, shape (n_texts, dimension).
    """
    names = [names_view(chunk) for chunk in chunks]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    vectors = embed([*map(text_view, chunks), *places])
    text, by_name = vectors[: len(chunks)], vectors[len(chunks) :]
    mixed = text + NAMES_WEIGHT * by_name[[places[name] for name in names]]
    lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
    unit: Vectors = mixed / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
