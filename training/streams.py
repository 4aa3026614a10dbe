"""MDS datasets as a model reads them: several streams mixed, windows with labels.

Shards are fetched to a folder of the run as they are needed, from this disk or an object store,
and checked against their hashes. A dataset of other tokens than the model's is refused. Labels are
told from how many tokens of a window are real, never from a token's id, so that an end-of-text
token is learned even where it pads too.
"""

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from data_tools.dataset import (
    MANIFEST,
    SHORT_HASH,
    DatasetManifest,
    hash_file,
    locate,
    parse_manifest,
    read_manifest,
    verify,
)
from data_tools.errors import DatasetError
from data_tools.mds import Sample, import_streaming
from data_tools.object_store import read_text
from data_tools.tokenizer import tokenizer_hash
from training.config import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_LEARNED = -100  # a label that no loss is computed for: PyTorch's `ignore_index`
VALIDATION = "validation"
NAMES = 10**9  # macOS allows 31 characters for a name, streaming adds 19
FASTEST_HASHES = ("xxh3_64", "xxh64", "xxh3_128", "xxh128", "md5", "sha1", "sha256")
_CHECKSUM = re.compile(r"Checksum failure: (\S+)")


@dataclass(frozen=True)
class Source:
    """A dataset that a run reads.

    :param location: a folder, or the URL of an object store.
    :param weight: its share of what is drawn, relative to the other sources'.
    """

    location: str
    manifest: DatasetManifest
    split: str
    weight: float | None

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes of text for each token of the validation split; None where it has none."""
        counts = self.manifest.splits.get(VALIDATION)
        return counts.bytes / counts.tokens if counts and counts.tokens and counts.bytes else None

    @property
    def check(self) -> str | None:
        """Which of the hashes of its shards is looked at."""
        known = self.manifest.settings.get("hashes")
        names = known if isinstance(known, list) else []
        return next((name for name in FASTEST_HASHES if name in names), None)


def open_sources(streams: Sequence[Stream], tokenizer: "PreTrainedTokenizerBase") -> list[Source]:
    """Find the datasets of a run, and see that they fit it.

    :raises DatasetError: one is missing, holds no windows of tokens, or other tokens than the
        tokenizer's.
    """
    return [_open_source(stream, tokenizer) for stream in streams]


def _open_source(stream: Stream, tokenizer: "PreTrainedTokenizerBase") -> Source:
    location = locate(stream.dataset)
    manifest = _read_manifest(location)
    if manifest.kind != "mds":
        raise DatasetError(
            f"{manifest.version} holds {manifest.kind}, and pretraining reads MDS; make it with "
            "`codeqa convert`, or set objective=instruct and data.pairs"
        )
    counts = manifest.splits.get(stream.split)
    if counts is None or not counts.samples:
        there = ", ".join(name for name, each in manifest.splits.items() if each.samples)
        raise DatasetError(
            f"{manifest.version} has nothing in its split `{stream.split}`; there is "
            f"{there or 'nothing at all'}"
        )
    _check_tokenizer(manifest, tokenizer)
    return Source(location, manifest, stream.split, stream.weight)


def stream_versions(streams: Sequence[Stream]) -> list[str]:
    """Name the datasets as they are now, `NAME@HASH` each.

    :raises DatasetError: one is missing or damaged.
    """
    return [_read_manifest(locate(stream.dataset)).version for stream in streams]


def _read_manifest(location: str) -> DatasetManifest:
    if "://" in location:
        return parse_manifest(read_text(f"{location.rstrip('/')}/{MANIFEST}"), location)
    return read_manifest(Path(location))


def _check_tokenizer(manifest: DatasetManifest, tokenizer: "PreTrainedTokenizerBase") -> None:
    ours = tokenizer_hash(tokenizer)
    theirs = manifest.tokenizer
    if theirs is None or theirs.sha256 != ours:
        made_with = f"{theirs.name} ({theirs.sha256[:SHORT_HASH]}…)" if theirs else "none"
        raise DatasetError(
            f"{manifest.version} was tokenised with {made_with}, and the run's tokenizer is "
            f"{tokenizer.name_or_path} ({ours[:SHORT_HASH]}…); set model.tokenizer to the former, "
            "or convert the dataset again with the latter"
        )


def keep_apart(number: int) -> None:
    """Let the datasets that are opened from here on share memory under names of their own.

    streaming numbers what the processes of a run share by the first number that is free. What
    another run leaves behind or takes away in that moment has let processes read half-written
    shards; a number that no other run begins at keeps them apart.

    :param number: the same in all processes of a run.
    """
    import_streaming()
    from streaming.base.shared import prefix

    prefix._each_prefix_int = lambda: itertools.count(number % NAMES)


def open_training_stream(sources: Sequence[Source], folder: Path, *, batch: int, seed: int) -> Any:  # noqa: ANN401 - streaming ships without types
    """Open the sources as one shuffled `StreamingDataset`.

    The same seed and the same batch over all processes give the same batches in the same order,
    however many processes share them.

    :param folder: that shards are fetched to.
    :param batch: samples of a step in one process.
    :raises DatasetError: a source cannot be read.
    """
    streaming = import_streaming()
    with reading_errors(sources):
        return streaming.StreamingDataset(
            streams=[
                _make_stream(source, folder / f"{number:02d}", source.split, source.weight)
                for number, source in enumerate(sources)
            ],
            batch_size=batch,
            shuffle=True,
            shuffle_seed=seed,
        )


def open_loader(dataset: Any, *, batch: int, workers: int, pinned: bool) -> Any:  # noqa: ANN401
    """Open a `StreamingDataLoader` of batches of token ids and labels.

    :param batch: samples of a step in one process; shape of both tensors (batch, tokens).
    """
    return import_streaming().StreamingDataLoader(
        dataset,
        batch_size=batch,
        num_workers=workers,
        pin_memory=pinned,
        collate_fn=collate,
        drop_last=False,
        # Else each pass draws from the generator of the run, and one that goes on in the middle of
        # a pass draws once more: another dropout.
        generator=torch.Generator(),
    )


def collate(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Stack windows and label them: what is padded is not learned.

    :return: `input_ids` and `labels`, each of shape (samples, tokens), int64.
    """
    stacked = np.stack([sample["input_ids"] for sample in samples])
    input_ids = torch.from_numpy(stacked.astype(np.int64))
    lengths = torch.tensor([int(sample["length"]) for sample in samples])
    is_padding = torch.arange(input_ids.shape[1]) >= lengths[:, None]
    return {"input_ids": input_ids, "labels": input_ids.masked_fill(is_padding, NOT_LEARNED)}


@dataclass(frozen=True)
class ValidationStream:
    """The validation windows of one source, read in their order.

    :param dataset: a `StreamingDataset`.
    :param bytes_per_token: None where it is not known.
    """

    name: str
    dataset: Any
    bytes_per_token: float | None

    def __len__(self) -> int:
        return int(self.dataset.num_samples)

    def batches(
        self, size: int, windows: int, *, rank: int, processes: int
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Read some windows, evenly spread over the split.

        Every process gets as many batches, as sharded weights need all of them: one that has no
        window left for itself gets one with nothing to learn.

        :param size: windows of a batch, over all processes.
        :param windows: how many in all.
        :param rank: of the process, which reads its share of each batch.
        """
        numbers = np.linspace(0, len(self) - 1, windows).round().astype(int)
        for start in range(0, windows, size):
            batch = numbers[start : start + size]
            own = batch[rank::processes]
            inputs = collate([self.dataset[int(at)] for at in (own if len(own) else batch[:1])])
            if not len(own):
                inputs["labels"].fill_(NOT_LEARNED)
            yield inputs


def open_validation(sources: Sequence[Source], folder: Path) -> list[ValidationStream]:
    """Open the validation split of each source that has one.

    :raises DatasetError: one cannot be read.
    """
    streaming = import_streaming()
    opened: list[ValidationStream] = []
    for number, source in enumerate(sources):
        counts = source.manifest.splits.get(VALIDATION)
        if counts is None or not counts.samples:
            continue
        with reading_errors(sources):
            dataset = streaming.StreamingDataset(
                streams=[_make_stream(source, folder / f"{number:02d}", VALIDATION)],
                batch_size=1,
                shuffle=False,
            )
        name = source.manifest.name
        if any(each.name == name for each in opened):
            name = f"{name}_{number + 1}"
        opened.append(ValidationStream(name, dataset, source.bytes_per_token))
    return opened


class StreamEndedEarlyError(RuntimeError):
    """A stream gave fewer batches than it holds; a thread that reads has failed."""


class _Faults(logging.Handler):
    """Keeps what the reading threads fail at: streaming logs it, and ends the epoch early."""

    def __init__(self) -> None:
        super().__init__()
        self.first: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and self.first is None:
            self.first = record.exc_info[1]


@contextlib.contextmanager
def reading_errors(sources: Sequence[Source]) -> Iterator[None]:
    """Turn what streaming raises, or only logs, into one line that names the shard.

    :raises DatasetError: a shard is damaged or missing.
    """
    faults = _Faults()
    logger = logging.getLogger("concurrent.futures")
    logger.addHandler(faults)
    propagated, logger.propagate = logger.propagate, False
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        if isinstance(error, StreamEndedEarlyError) or _is_of_streaming(error):
            raise _explain(sources, faults.first or error) from error
        raise
    finally:
        logger.propagate = propagated
        logger.removeHandler(faults)


def _explain(sources: Sequence[Source], error: BaseException) -> DatasetError:
    """Say which shard cannot be read, and why."""
    if (damaged := _CHECKSUM.search(str(error))) is not None:
        return DatasetError(_describe_damage(sources, Path(damaged[1])))
    for source in sources:
        if "://" not in source.location:
            try:
                verify(Path(source.location))
            except DatasetError as found:
                return found
    reason = " ".join(str(error).split())[:300]
    return DatasetError(f"a dataset cannot be read ({reason}); look at it, or make it again")


def _describe_damage(sources: Sequence[Source], file: Path) -> str:
    """Name a damaged shard with its hashes, and where it lies."""
    name = f"{file.parent.name}/{file.name}"
    source = next((each for each in sources if name in each.manifest.files), sources[0])
    expected = source.manifest.files.get(name, "")
    found = f"its sha256 is {hash_file(file)[:SHORT_HASH]}…" if file.is_file() else "its hash"
    return (
        f"{name} of {source.location} ({source.manifest.version}) is damaged: {found}, not "
        f"{expected[:SHORT_HASH]}…; make the dataset again, or fetch it by its version"
    )


def _is_of_streaming(error: BaseException) -> bool:
    """Whether an error comes out of the streaming library."""
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if str(module).startswith("streaming."):
            return True
        trace = trace.tb_next
    return False


def _make_stream(source: Source, folder: Path, split: str, weight: float | None = None) -> Any:  # noqa: ANN401
    streaming = import_streaming()
    options: Mapping[str, Any] = {} if weight is None else {"proportion": weight}
    return streaming.Stream(
        remote=source.location.rstrip("/"),
        local=str(folder),
        split=split,
        validate_hash=source.check,
        keep_zip=False,
        **options,
    )
