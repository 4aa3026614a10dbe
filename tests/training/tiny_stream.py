"""A small MDS dataset of text that can be learned, with the tokenizer of the tiny model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_tools.dataset import (
    DatasetSource,
    SplitCounts,
    TokenizerRecord,
    content_hash,
    make_manifest,
    write_manifest,
)
from data_tools.mds import Sample, ShardSettings, write_shards
from data_tools.tokenizer import load_tokenizer, tokenizer_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORDS = "def return class self import for while limit bucket token client request retry".split()


def make_text(seed: int, words: int) -> str:
    """Words in a random order: what a byte model can learn of them is how they are spelt."""
    rng = np.random.default_rng(seed)
    return " ".join(WORDS[at] for at in rng.integers(0, len(WORDS), words))


def make_stream(
    folder: Path,
    tokenizer_folder: Path,
    *,
    samples: int = 48,
    validation: int = 6,
    tokens: int = 32,
    seed: int = 0,
    shard_bytes: int = 2048,
) -> Path:
    """Write a dataset of two splits; the last window of each is only half full."""
    tokenizer = load_tokenizer(str(tokenizer_folder))
    settings = ShardSettings(concat_tokens=tokens, shard_bytes=shard_bytes)
    counts = {}
    for number, (split, windows) in enumerate({"train": samples, "validation": validation}.items()):
        rows = _windows(tokenizer, seed * 10 + number, windows, tokens)
        write_shards(rows, folder / split, settings)
        real = sum(row["length"] for row in rows)
        counts[split] = SplitCounts(documents=1, samples=windows, tokens=real, bytes=real)
    manifest = make_manifest(
        folder,
        name=folder.name,
        hash=content_hash({"seed": seed, "samples": samples, "tokens": tokens}),
        kind="mds",
        sources=[DatasetSource(repo="words", location="words", files=1)],
        settings={"concat_tokens": tokens, "hashes": list(settings.hashes)},
        splits=counts,
        tokenizer=TokenizerRecord(
            name=str(tokenizer_folder), sha256=tokenizer_hash(tokenizer), vocab_size=len(tokenizer)
        ),
    )
    write_manifest(folder, manifest)
    return folder


def _windows(
    tokenizer: "PreTrainedTokenizerBase", seed: int, windows: int, tokens: int
) -> Sequence[Sample]:
    ids = tokenizer(make_text(seed, windows * tokens))["input_ids"]
    rows = []
    for at in range(windows):
        length = tokens if at < windows - 1 else tokens // 2
        window = np.full(tokens, tokenizer.pad_token_id or 0, np.int32)
        window[:length] = ids[at * tokens : at * tokens + length]
        rows.append(Sample(input_ids=window, length=length))
    return rows
