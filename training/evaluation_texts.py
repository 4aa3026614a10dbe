"""The texts that bits per byte are measured on: files that were held out, and replay text.

Which files were held out is what the dataset says that was trained on (`documents.jsonl`); their
text is read from the corpus that it was made from. A file whose text has changed since is an
error: whether it was trained on cannot be told any more.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_tools.dataset import DOCUMENTS, MANIFEST
from data_tools.documents import Document, open_corpus, read_document
from data_tools.errors import DatasetError

MAX_UNIGRAM_BYTES = 32_000_000  # of training text, enough to know how frequent tokens are


@dataclass(frozen=True)
class HeldOut:
    """The documents of a dataset whose text is at hand.

    :param held_out: those of the split that is measured.
    :param trained: those that were trained on, up to `MAX_UNIGRAM_BYTES`.
    """

    held_out: tuple[Document, ...]
    trained: tuple[Document, ...]

    def trained_texts(self) -> Iterator[str]:
        """Read what was trained on, one text at a time."""
        return map(read_document, self.trained)


def open_held_out(corpus: Path, dataset: Path, split: str) -> HeldOut:
    """Find the documents of a dataset in the corpus that it was made from.

    :param corpus: folder that `codeqa flatten` wrote, or other texts or rows.
    :param dataset: folder that `codeqa convert` wrote.
    :raises DatasetError: the split is empty, or a document is missing or has changed.
    """
    there = {(each.repo, each.path): each for each in _list(corpus)}
    splits: dict[str, list[Document]] = {split: [], "train": []}
    trained_bytes = 0
    for record in _read_documents(dataset):
        name = f"{record['repo']}/{record['path']}"
        document = there.get((record["repo"], record["path"]))
        if document is None:
            raise DatasetError(
                f"{corpus} holds no {name}; give the corpus that {dataset} was made from"
            )
        if document.sha256 != record["sha256"]:
            raise DatasetError(
                f"{name} of {corpus} has changed since {dataset} was made; convert it again"
            )
        if record["split"] == split or trained_bytes < MAX_UNIGRAM_BYTES:
            splits.setdefault(record["split"], []).append(document)
        trained_bytes += document.bytes * (record["split"] == "train")
    if not splits[split]:
        raise DatasetError(
            f"{dataset} holds no file of the split {split}; choose another with --split, or make "
            "the dataset with a share for it"
        )
    return HeldOut(tuple(splits[split]), tuple(splits["train"]))


def open_replay(place: Path, split: str) -> tuple[Document, ...]:
    """Find text that is no code of the repository: what a model knew before must not be lost.

    :param place: a text, a folder of texts, JSONL, or a dataset that `codeqa convert` wrote, of
        which one split is taken.
    :raises DatasetError: there is no text.
    """
    kept = tuple(each for each in _list(place) if each.split in (split, None))
    if not kept:
        raise DatasetError(f"{place} holds no text of the split {split}; choose with --split")
    return kept


def _list(place: Path) -> tuple[Document, ...]:
    """List the documents of a text, a folder of texts, JSONL or a dataset of shards."""
    form: Literal["txt", "jsonl", "mds"] = "jsonl" if place.suffix == ".jsonl" else "txt"
    if (place / MANIFEST).is_file():
        form = "mds"
    return open_corpus(form, [str(place)]).documents


def _read_documents(dataset: Path) -> list[dict[str, str]]:
    file = dataset / DOCUMENTS
    try:
        records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        keys = ("repo", "path", "split", "sha256")
        return [{key: str(record[key]) for key in keys} for record in records]
    except OSError as error:
        raise DatasetError(
            f"{dataset} has no {DOCUMENTS}, which says what was held out; give the dataset that "
            "`codeqa convert` wrote"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{file} is damaged; make the dataset again") from error
