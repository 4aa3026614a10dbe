"""What runs inside Spark: the process that its Python workers are forked from, and their work.

Spark starts this module in the place of `pyspark.daemon`, so that every worker can import streaming
before it unpickles streaming's converter. A row is nothing but the number of a part: workers read
from a job's folder which documents it has, then the documents themselves, so that no text passes
through Spark and none of its processes ever holds more than a batch of it.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.mds import Sample, replace_vision

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from data_tools.windows import Part

DONE = ".done"  # ending of the empty file that says that a part was converted


def part_file(folder: Path, index: int) -> Path:
    """Return where a part of a split is described.

    :param folder: of the split's parts.
    """
    return folder / f"{index:06d}.json"


def write_part(part: "Part", folder: Path) -> None:
    """Describe a part in a file."""
    documents = [asdict(document) for document in part.documents]
    part_file(folder, part.index).write_text(json.dumps(documents), "utf-8")


def read_part(folder: Path, index: int) -> "Part":
    """Read a part from its file."""
    from data_tools.documents import Document
    from data_tools.windows import Part

    documents = json.loads(part_file(folder, index).read_text("utf-8"))
    return Part(index, tuple(Document(**document) for document in documents))


def row_samples(
    rows: Any,  # noqa: ANN401 - a pandas.DataFrame, which has no types
    folder: str,
    tokenizer: str,
    windows: dict[str, Any],
) -> Iterator[Sample]:
    """Convert the parts that rows name: the function that streaming's converter calls.

    :param rows: with a column `id`, numbers of parts.
    :param folder: of the split's parts.
    :param windows: fields of `WindowSettings`.
    :raises DatasetError: a document cannot be read.
    """
    from data_tools.windows import WindowSettings, part_samples

    settings = WindowSettings(**windows)
    for index in rows["id"]:
        part = read_part(Path(folder), int(index))
        yield from part_samples(part, _load_tokenizer(tokenizer), settings)
        part_file(Path(folder), part.index).with_suffix(DONE).touch()


@functools.lru_cache(maxsize=1)
def _load_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    """Load a tokenizer once a worker, which serves many rows."""
    from data_tools.tokenizer import load_tokenizer

    return load_tokenizer(name)


def main() -> None:
    """Serve Spark with Python workers until it closes our standard input."""
    from pyspark import daemon

    replace_vision()
    daemon.manager()


if __name__ == "__main__":
    main()
