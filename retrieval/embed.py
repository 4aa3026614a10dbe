"""Opening an embedding model by its name; the one page to import embedders from.

The default is all-MiniLM-L6-v2 from an installed package, so that nothing is downloaded.
"""

import os
from pathlib import Path

from data_tools.errors import EmbedderError
from retrieval.embed_local import (
    MAX_CHARS_PER_TOKEN,
    SentenceTransformerEmbedder,
    has_bfloat16,
)
from retrieval.embed_server import ServerEmbedder
from retrieval.embedder import Embedder, Vectors
from retrieval.model_files import download_model, packaged_folder

__all__ = [
    "DEFAULT_EMBEDDER",
    "DEFAULT_SHA256",
    "MAX_CHARS_PER_TOKEN",
    "MAX_TOKENS",
    "Embedder",
    "SentenceTransformerEmbedder",
    "ServerEmbedder",
    "Vectors",
    "has_bfloat16",
    "open_embedder",
    "packaged_folder",
]

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 128  # of the default: hybrid ranking is as good as with 256, embedding twice as fast


def open_embedder(name: str = DEFAULT_EMBEDDER, *, max_tokens: int | None = None) -> Embedder:
    """Find an embedding model.

    :param name: the packaged default; a sentence-transformers folder, or a name on the Hugging
        Face hub; or an OpenAI-compatible server, `http://HOST:PORT/v1#MODEL`.
    :param max_tokens: what is longer is cut; by default the model's own window, up to 512, and
        128 for the packaged model. A server cuts by its own.
    :raises EmbedderError: it is not there, its weights are not safetensors, or the server does
        not answer.
    """
    if name == DEFAULT_EMBEDDER:
        folder = packaged_folder()
        embedder = SentenceTransformerEmbedder(name, folder, max_tokens=max_tokens or MAX_TOKENS)
        if embedder.fingerprint.split("-")[0] != DEFAULT_SHA256[:32]:
            raise EmbedderError(f"the packaged weights in {folder} were altered; reinstall them")
        return embedder
    if name.startswith(("http://", "https://")):
        return ServerEmbedder(name)
    local = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own raises for unknown users
    if name and local.is_dir():
        return SentenceTransformerEmbedder(str(local.resolve()), local, max_tokens=max_tokens)
    return SentenceTransformerEmbedder(name, download_model(name), max_tokens=max_tokens)
