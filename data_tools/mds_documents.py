"""Existing MDS datasets as documents, to be tokenised or concatenated anew.

Samples of text are documents. Windows of tokens are put together again: a document ends at the
token that ends texts, if that is a special one, and where padding begins; it is decoded with the
tokenizer that made it. A dataset of this project says which that was, keeps its documents' names,
and keeps its splits, so that what was held out stays held out; those of any other, and of several
together, are dealt anew, as nobody has looked for near-duplicates across them.
"""

import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from data_tools.dataset import DOCUMENTS, MANIFEST, DatasetManifest, DatasetSource, parse_manifest
from data_tools.documents import Document
from data_tools.errors import DatasetError
from data_tools.mds_reader import INDEX, ShardFolder
from data_tools.object_store import exists, is_remote, read_text
from data_tools.split import SPLITS
from data_tools.tokenizer import load_tokenizer, tokenizer_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT = "text"
TOKENS = ("input_ids", "tokens")
RUN_TOKENS = 1 << 20  # a run of windows in which nothing ends is cut there
WINDOWS_LOOKED_AT = 64  # samples, to see whether all are equally long

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Ends:
    """Which special tokens stand at the beginning and end of each document, if any."""

    tokenizer: str
    first: int | None
    last: int | None


class _Name(TypedDict):
    """What is kept of a document of this project's datasets."""

    repo: str
    path: str
    group: str | None


def list_samples(
    place: str, source_tokenizer: str | None
) -> tuple[DatasetSource, Iterator[Document]]:
    """List the documents of an MDS dataset: one folder of shards, or one for each split.

    :param place: a folder, or the URL of an object store.
    :param source_tokenizer: whose tokens it holds, if it holds any and does not say.
    :raises DatasetError: it is no MDS dataset, has no text and no tokens, or its tokenizer is not
        known.
    """
    place = place.rstrip("/") if is_remote(place) else str(Path(place).absolute())
    _shards.cache_clear()  # what is there may have been written anew since
    manifest = _read(f"{place}/{MANIFEST}")
    known = parse_manifest(manifest, place) if manifest is not None else None
    if known and known.kind != "mds":
        raise DatasetError(f"{place} holds {known.kind}, not MDS shards; give a dataset of shards")
    splits = [split for split in SPLITS if _there(f"{place}/{split}/{INDEX}")]
    if _there(f"{place}/{INDEX}"):
        splits = [""]
    if not splits:
        raise DatasetError(f"{place} is no MDS dataset: it has no {INDEX}")
    repo = known.name if known else place.rpartition("/")[2]
    names = _names(place) if known else {}

    def documents() -> Iterator[Document]:
        for split in splits:
            found = _list_folder(place, split, repo, known, source_tokenizer)
            yield from _named(found, names.get(split, []))

    return DatasetSource(repo=repo, location=place, files=0), documents()


def read_samples(document: Document) -> str:
    """Read one document again from its samples.

    :raises DatasetError: a shard is damaged, or the tokenizer cannot be loaded.
    """
    folder = _shards(document.location)
    if document.tokenizer is None:
        text: str = next(folder.samples(document.start))[TEXT]
        return text
    ids: list[Ids] = []
    left, skip = document.size, document.skip
    for sample in folder.samples(document.start):
        real = _real_tokens(sample)[skip : skip + left]
        ids.append(real)
        left, skip = left - len(real), 0
        if not left:
            break
    decoded: str | list[str] = _tokenizer(document.tokenizer).decode(
        np.concatenate(ids).tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return str(decoded)


def _list_folder(
    place: str, split: str, repo: str, known: DatasetManifest | None, source_tokenizer: str | None
) -> Iterator[Document]:
    location = f"{place}/{split}" if split else place
    columns = _shards(location).columns
    blank = Document(repo, "", "mds", location, split=split if known else None)
    prefix = f"{split}/" if split else ""
    if TEXT in columns:
        for number in range(len(_shards(location))):
            yield replace(blank, path=f"{prefix}{number:08}", start=number)
    elif any(name in columns for name in TOKENS):
        ends = _find_ends(place, known, source_tokenizer)
        for number, (start, skip, size) in enumerate(_find_documents(location, ends)):
            yield replace(
                blank,
                path=f"{prefix}{number:08}",
                start=start,
                skip=skip,
                size=size,
                tokenizer=ends.tokenizer,
            )
    elif columns:
        raise DatasetError(
            f"{location} has the columns {', '.join(sorted(columns))}; it needs `{TEXT}`, or "
            f"tokens as {' or '.join(f'`{name}`' for name in TOKENS)}"
        )


def _find_ends(place: str, known: DatasetManifest | None, source_tokenizer: str | None) -> _Ends:
    name = source_tokenizer or (known.tokenizer.name if known and known.tokenizer else None)
    if name is None:
        raise DatasetError(f"{place} holds tokens; say whose with --source-tokenizer NAME")
    tokenizer = _tokenizer(name)
    if known and known.tokenizer and tokenizer_hash(tokenizer) != known.tokenizer.sha256:
        raise DatasetError(
            f"{place} was made with another tokenizer than {name} is now; give that one with "
            "--source-tokenizer"
        )
    if not known:
        return _Ends(name, tokenizer.bos_token_id, tokenizer.eos_token_id)
    texts = (str(known.settings.get(key) or "") for key in ("bos_text", "eos_text"))
    first, last = (_special_token(text, tokenizer) for text in texts)
    return _Ends(name, first, last)


def _special_token(text: str, tokenizer: "PreTrainedTokenizerBase") -> int | None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    special = {at for at, token in tokenizer.added_tokens_decoder.items() if token.special}
    return ids[0] if len(ids) == 1 and ids[0] in special else None


def _find_documents(location: str, ends: _Ends) -> Iterator[tuple[int, int, int]]:
    """Find where documents begin: number of the sample, tokens to skip in it, tokens in all."""
    folder = _shards(location)
    windows = _are_windows(folder)
    begin, size = (0, 0), 0
    for number, sample in enumerate(folder.samples()):
        real, at = _real_tokens(sample), 0
        for stop in [*np.flatnonzero(real == ends.last).tolist(), len(real)]:
            if not size:
                at += at < stop and int(real[at]) == ends.first
                begin = (number, at)
            size += stop - at
            whole = stop < len(real) or not windows or len(real) < _width(sample)
            if size and (whole or size >= RUN_TOKENS):
                yield (*begin, size)
                size = 0
            at = stop + 1
    if size:
        yield (*begin, size)


def _are_windows(folder: ShardFolder) -> bool:
    """Say whether samples are windows that documents run across, rather than one document each."""
    if "length" in folder.columns:
        return True
    widths = {_width(sample) for sample in islice(folder.samples(), WINDOWS_LOOKED_AT)}
    return len(widths) == 1 and len(folder) > 1


def _tokens(sample: dict[str, Any]) -> Ids:
    """Read a sample's tokens; bytes are int64, as LLM Foundry writes them."""
    tokens = next(sample[name] for name in TOKENS if name in sample)
    return np.frombuffer(tokens, np.int64) if isinstance(tokens, bytes) else np.asarray(tokens)


def _width(sample: dict[str, Any]) -> int:
    return len(_tokens(sample))


def _real_tokens(sample: dict[str, Any]) -> Ids:
    return _tokens(sample)[: sample.get("length")]


def _names(place: str) -> dict[str, list[_Name]]:
    """Read what the documents of each split are called, in order."""
    names: dict[str, list[_Name]] = {}
    for line in (_read(f"{place}/{DOCUMENTS}") or "").splitlines():
        record = json.loads(line)
        name = _Name(repo=record["repo"], path=record["path"], group=record["group"])
        names.setdefault(record["split"], []).append(name)
    return names


def _named(documents: Iterable[Document], names: list[_Name]) -> Iterator[Document]:
    """Give documents their names again, if there are as many of both."""
    found = list(documents)
    if len(found) != len(names):
        yield from found
    else:
        for document, name in zip(found, names, strict=True):
            yield replace(document, **name)


def _read(location: str) -> str | None:
    if not _there(location):
        return None
    return read_text(location) if is_remote(location) else Path(location).read_text("utf-8")


def _there(location: str) -> bool:
    return exists(location) if is_remote(location) else Path(location).is_file()


@functools.lru_cache(maxsize=len(SPLITS))
def _shards(location: str) -> ShardFolder:
    return ShardFolder(location)


@functools.lru_cache(maxsize=1)
def _tokenizer(name: str) -> "PreTrainedTokenizerBase":
    return load_tokenizer(name)
