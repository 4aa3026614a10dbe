"""Documents as windows of tokens.

Each document is tokenised whole, with the text that begins and ends it around it. Documents run on
from window to window, or each begins one of its own; the last window is padded, never dropped.
Windows do not run across parts, groups of documents that are large enough for the padding not to
matter: parts can be converted apart from each other, in any order or place, to the same samples.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data_tools.documents import Document, read_document
from data_tools.mds import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PART_BYTES = 32 << 20  # of text; a part then has thousands of windows, and one of them padding
_BATCH_CHARS = 1 << 19  # tokenised at once: enough for every core, little enough to be held
_BATCH_DOCUMENTS = 256

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class WindowSettings:
    """How documents become windows.

    :param concat_tokens: tokens of a window.
    :param bos_text: stands before each document, tokenised by itself; may hold special tokens.
    :param eos_text: stands after each.
    :param wrap: documents run on across windows; otherwise each begins a new one.
    """

    concat_tokens: int
    bos_text: str = ""
    eos_text: str = ""
    wrap: bool = True


@dataclass(frozen=True)
class Part:
    """Documents that are packed together, apart from all others.

    :param index: place among the parts of the split, from 0.
    """

    index: int
    documents: tuple[Document, ...]


def plan_parts(documents: Iterable[Document], part_bytes: int = PART_BYTES) -> list[Part]:
    """Group a split's documents, in their order, into parts of at least `part_bytes` of text.

    What is left at the end and would make a small part belongs to the last one.
    """
    groups: list[list[Document]] = []
    size = part_bytes
    for document in documents:
        if size >= part_bytes:
            groups.append([])
            size = 0
        groups[-1].append(document)
        size += document.bytes
    if size < part_bytes and len(groups) > 1:
        rest = groups.pop()
        groups[-1] += rest
    return [Part(index, tuple(group)) for index, group in enumerate(groups)]


def part_samples(
    part: Part,
    tokenizer: "PreTrainedTokenizerBase",
    settings: WindowSettings,
    *,
    read: Callable[[Document], str] = read_document,
) -> Iterator[Sample]:
    """Tokenise the documents of a part and cut them into windows.

    :param read: gives a document's text; called for each in order.
    :return: samples in order; only the last one, or with `wrap=False` the last of each document,
        holds padding.
    :raises DatasetError: a document cannot be read.
    """
    size = settings.concat_tokens
    padding = tokenizer.pad_token_id or 0
    rest = np.empty(0, np.int32)
    for ids in _encode(map(read, part.documents), tokenizer, settings):
        if settings.wrap:
            stream = np.concatenate([rest, ids])
            whole = len(stream) - len(stream) % size
            yield from _cut(stream[:whole], size, padding)
            rest = stream[whole:]
        else:
            yield from _cut(ids, size, padding)
    yield from _cut(rest, size, padding)


def _cut(ids: Ids, size: int, padding: int) -> Iterator[Sample]:
    for start in range(0, len(ids), size):
        window = ids[start : start + size]
        length = len(window)
        if length < size:
            window = np.concatenate([window, np.full(size - length, padding, np.int32)])
        yield {"input_ids": window, "length": length}


def _encode(
    texts: Iterable[str], tokenizer: "PreTrainedTokenizerBase", settings: WindowSettings
) -> Iterator[Ids]:
    """Tokenise texts: one array each, or one for several if they run on."""
    first = _tokenize([settings.bos_text], tokenizer, special=True)[0] if settings.bos_text else []
    last = _tokenize([settings.eos_text], tokenizer, special=True)[0] if settings.eos_text else []
    for batch in _batches(texts):
        encoded = _tokenize(batch, tokenizer, special=False)
        if settings.wrap:
            yield np.fromiter(
                chain.from_iterable(chain(first, ids, last) for ids in encoded), np.int32
            )
        else:
            yield from (np.array([*first, *ids, *last], np.int32) for ids in encoded)


def _tokenize(
    texts: list[str], tokenizer: "PreTrainedTokenizerBase", *, special: bool
) -> list[list[int]]:
    """Tokenise texts. A document that only mentions `<|endoftext|>` does not end there."""
    encoding = tokenizer(
        texts,
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        split_special_tokens=not special,
        verbose=False,
    )
    ids: list[list[int]] = encoding["input_ids"]
    return ids


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if chars >= _BATCH_CHARS or len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
