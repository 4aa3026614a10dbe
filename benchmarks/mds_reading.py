"""What reading MDS shards costs a training run, beside a plain memory-mapped token file.

    .venv/bin/python -m benchmarks.mds_reading             # this repository's tokens
    .venv/bin/python -m benchmarks.mds_reading ~/composer --hidden 128

The same tokens, once through the loader that `codeqa train` reads shards with, hashes checked, once
as random windows of one file, which is as little as reading can cost. The two take turns every few
steps, so that what else the machine does burdens both. Then both without a model.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from data_tools.convert import ConvertSettings, convert
from data_tools.documents import open_corpus
from data_tools.errors import CodeQAError
from data_tools.flatten import flatten
from data_tools.mds_reader import ShardFolder
from data_tools.tokenizer import load_tokenizer, make_tokenizer
from retrieval.metrics import RESAMPLES
from training.arguments import WORKERS
from training.config import Architecture, Data, Model, Stream, TrainConfig
from training.model import calculates_in_bfloat16, device_type, load_model
from training.streams import open_loader, open_sources, open_training_stream

Batch = dict[str, torch.Tensor]  # input_ids and labels, each of shape (windows, tokens)

VOCABULARY = 4096
FASTER = 20  # times as many batches where no model slows them down
AHEAD = 2  # batches that each reading process of PyTorch's loader makes in advance


@dataclass(frozen=True)
class Readers:
    """The same tokens, read in both ways, without an end."""

    mds: Iterator[Batch]
    mapped: Iterator[Batch]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the repository cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.mds_reading", description=__doc__)
    parser.add_argument("repository", nargs="?", default=".", help="whose tokens are read")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=2, help="of a round, each way")
    parser.add_argument("--batch", type=int, default=8, help="windows of a step")
    parser.add_argument("--tokens", type=int, default=512, help="of a window")
    parser.add_argument("--hidden", type=int, default=192, help="size of the model's layers")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="codeqa-mds-") as folder:
        os.environ.setdefault("CODEQA_DATASETS", f"{folder}/versions")  # not the user's own
        try:
            _measure(Path(folder), options)
        except CodeQAError as error:
            print(f"nothing is measured: {error}", file=sys.stderr)
            return 1
    return 0


def _measure(folder: Path, options: argparse.Namespace) -> None:
    config = _make_dataset(folder, options)
    readers = _open_readers(folder, config, options)
    learn, parameters = _make_model(config)
    print(
        f"{parameters / 1e6:.1f} million parameters on {device_type()}, {options.batch} windows of "
        f"{options.tokens} tokens a step, {options.rounds} rounds\n"
    )
    print("| | mapped file, tokens/s | MDS, tokens/s | ratio, 95 % interval | median of rounds |")
    print("|---|---|---|---|---|")
    _compare("with the model", readers, learn, options.steps, options)
    _compare("without it", readers, lambda _: None, options.steps * FASTER, options)


def _make_dataset(folder: Path, options: argparse.Namespace) -> TrainConfig:
    """Make a tokenizer and a dataset of the repository, as a user would."""
    flatten([options.repository], folder / "corpus")
    corpus = open_corpus("txt", [str(folder / "corpus")])
    make_tokenizer(corpus, folder / "tokenizer", VOCABULARY)
    settings = ConvertSettings(str(folder / "tokenizer"), options.tokens)
    convert(corpus, str(folder / "shards"), settings, name="benchmark")
    architecture = Architecture(
        hidden_size=options.hidden, intermediate_size=4 * options.hidden, max_tokens=options.tokens
    )
    return TrainConfig(
        objective="pretrain",
        output=str(folder / "run"),
        model=Model(architecture=architecture, tokenizer=settings.tokenizer),
        data=Data(streams=[Stream(dataset=str(folder / "shards"))]),
    )


def _open_readers(folder: Path, config: TrainConfig, options: argparse.Namespace) -> Readers:
    tokenizer = load_tokenizer(str(config.model.tokenizer))
    sources = open_sources(config.data.streams, tokenizer)
    stream = open_training_stream(
        sources, folder / "fetched", batch=options.batch, seed=config.seed
    )
    device = device_type()
    loader = open_loader(
        stream, batch=options.batch, workers=WORKERS[device], pinned=device == "cuda"
    )
    file = folder / "tokens"
    with file.open("wb") as tokens:
        for sample in ShardFolder(str(folder / "shards" / "train")).samples():
            tokens.write(sample["input_ids"][: sample["length"]].tobytes())
    epochs = itertools.repeat(loader)
    return Readers(
        mds=itertools.chain.from_iterable(epochs),
        mapped=read_mapped(file, windows=options.batch, tokens=options.tokens, seed=config.seed),
    )


def read_mapped(file: Path, *, windows: int, tokens: int, seed: int) -> Iterator[Batch]:
    """Read random windows of a file of int32 tokens, without an end.

    Source: `get_batch` of karpathy/nanoGPT.
    """
    mapped = np.memmap(file, np.int32, mode="r")
    chance = np.random.default_rng(seed)
    while True:
        starts = chance.integers(len(mapped) - tokens + 1, size=windows)
        stacked = np.stack([mapped[start : start + tokens] for start in starts])
        input_ids = torch.from_numpy(stacked.astype(np.int64))
        yield {"input_ids": input_ids, "labels": input_ids.clone()}


def _make_model(config: TrainConfig) -> tuple[Callable[[Batch], None], int]:
    """Make a model; return what one step of its training is, and how many parameters it has."""
    device = device_type()
    tokenizer = load_tokenizer(str(config.model.tokenizer))
    model: torch.nn.Module = load_model(config, tokenizer).train()
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    use_bfloat16 = calculates_in_bfloat16(config)

    def learn(batch: Batch) -> None:
        on_device = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        with torch.autocast(device, torch.bfloat16, enabled=use_bfloat16):
            loss = model(**on_device).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return learn, sum(each.numel() for each in model.parameters())


def _compare(
    label: str,
    readers: Readers,
    learn: Callable[[Batch], None],
    steps: int,
    options: argparse.Namespace,
) -> None:
    """Print a row of the table.

    :param steps: timed, a round and way of reading.
    """
    for batches in (readers.mds, readers.mapped):  # whatever the first step does once
        _seconds(batches, learn, 1)
    seconds = np.empty((options.rounds, 2))
    for number in range(options.rounds):
        for way in (0, 1) if number % 2 else (1, 0):
            batches = (readers.mapped, readers.mds)[way]
            seconds[number, way] = _seconds(batches, learn, steps)
    mapped, mds = options.rounds * steps * options.batch * options.tokens / seconds.sum(axis=0)
    low, high = ratio_interval(seconds)
    median = statistics.median(seconds[:, 0] / seconds[:, 1])
    print(
        f"| {label} | {mapped:,.0f} | {mds:,.0f} | {mds / mapped:.3f} [{low:.3f}, {high:.3f}] "
        f"| {median:.3f} |",
        flush=True,
    )


def ratio_interval(seconds: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a ratio of totals, rounds resampled.

    :param seconds: shape (rounds, 2); the ratio is that of the first column to the second.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 10 and 13.
    """
    chance = np.random.default_rng(0)
    drawn = chance.integers(len(seconds), size=(RESAMPLES, len(seconds)))
    totals = seconds[drawn].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], (0.025, 0.975))
    return float(low), float(high)


def _seconds(batches: Iterator[Batch], learn: Callable[[Batch], None], steps: int) -> float:
    """Time some steps, from when nothing is left of what was read in advance."""
    for batch in itertools.islice(batches, AHEAD * WORKERS[device_type()]):
        learn(batch)
    start = _now()
    for batch in itertools.islice(batches, steps):
        learn(batch)
    return _now() - start


def _now() -> float:
    if device_type() == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(main())
