"""Small corpora and tokenizers for the tests of datasets."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.documents import open_corpus
from data_tools.tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi omicron".split()


def write_texts(folder: Path, texts: Mapping[str, str]) -> Path:
    """Write text files below a folder; return it."""
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8"))
    return folder


def make_text(seed: int, lines: int = 30) -> str:
    """A text of nonsense code that no other seed's text is like."""
    chance = random.Random(seed)
    names = [f"{chance.choice(WORDS)}_{chance.randrange(1000)}" for _ in range(lines)]
    return "".join(
        f"def {name}(x):\n    return x + {at * seed}\n\n\n" for at, name in enumerate(names)
    )


def make_texts(count: int) -> dict[str, str]:
    """Texts of nonsense code by path, none like another."""
    return {f"module_{at:03}.txt": make_text(at) for at in range(1, count + 1)}


def tiny_tokenizer(folder: Path, vocab_size: int = 512) -> str:
    """Make a tokenizer in a moment; return its folder."""
    texts = write_texts(folder.with_name(f"{folder.name}-texts"), make_texts(5))
    make_tokenizer(open_corpus("txt", [str(texts)]), folder, vocab_size)
    return str(folder)


def decode(ids: Sequence[int], tokenizer: "PreTrainedTokenizerBase") -> str:
    """Turn tokens back into text, special ones included."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False))
