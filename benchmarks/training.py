"""How fast a Llama trains, as tokens a second and as a share of what the card can do (MFU).

    .venv/bin/python -m benchmarks.training                # 1.1 billion weights, on a GPU
    .venv/bin/python -m benchmarks.training --size tiny    # 4 million, on any machine

Runs are those of `codeqa train`: MDS shards, bf16 where the hardware multiplies it, all weights
and LoRA. Tokens are drawn at random, so nothing is said of what is learned.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.dataset import (
    DatasetSource,
    SplitCounts,
    TokenizerRecord,
    content_hash,
    make_manifest,
    write_manifest,
)
from data_tools.errors import CodeQAError
from data_tools.mds import Sample, ShardSettings, write_shards
from data_tools.tokenizer import tokenizer_hash
from training.config import TrainConfig
from training.run_folder import read_log

SKIPPED_STEPS = 3  # memory is being set up, kernels are being compiled
MEASURED_STEPS = 20


@dataclass(frozen=True)
class Size:
    """A model's sizes, and the batches it is given.

    :param vocabulary: tokens that it knows.
    :param tokens: length of a sequence.
    :param batch: sequences of a step.
    """

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tokens: int
    batch: int

    def architecture(self) -> dict[str, Any]:
        """As a run's configuration names it."""
        return {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "layers": self.layers,
            "heads": self.heads,
            "key_value_heads": self.key_value_heads,
            "max_tokens": self.tokens,
            "tie_embeddings": self.vocabulary < 32_000,
        }


SIZES = {
    # TinyLlama's, arXiv:2401.02385: 1.1 billion weights
    "1b": Size(2048, 5632, 22, 32, 4, 32_000, tokens=2048, batch=32),
    "tiny": Size(256, 688, 4, 4, 2, 4_096, tokens=256, batch=16),
}


@dataclass(frozen=True)
class Measure:
    """How fast a run was, after its first steps.

    :param mfu: share of the peak; None where that is not known.
    """

    tokens_per_s: float
    mfu: float
    memory_mb: float
    weights: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where there is no card to measure."""
    parser = argparse.ArgumentParser(prog="benchmarks.training", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--methods", nargs="+", choices=["full", "lora"], default=["full", "lora"])
    parser.add_argument("--steps", type=int, default=MEASURED_STEPS, metavar="N")
    parser.add_argument("--microbatch", type=int, metavar="N", help="default: what fits")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--recompute", action="store_true", help="gradient checkpointing")
    options = parser.parse_args(arguments)
    from training.launch import share_cores

    share_cores()
    from training.model import device_type, quiet_libraries

    if options.size != "tiny" and device_type() == "cpu":
        print("nothing is measured: a GPU is needed, or --size tiny", file=sys.stderr)
        return 1
    quiet_libraries()
    try:
        with tempfile.TemporaryDirectory(prefix="codeqa-bench-") as folder:
            _Bench(Path(folder), SIZES[options.size], options).print_methods()
    except CodeQAError as error:
        print(f"nothing is measured: {error}", file=sys.stderr)
        return 1
    return 0


class _Bench:
    """A tokenizer, a dataset and a base model of one size, and runs on them."""

    def __init__(self, folder: Path, size: Size, options: argparse.Namespace) -> None:
        self._folder = folder
        self._size = size
        self._options = options
        self._steps = SKIPPED_STEPS + options.steps
        self._numbers = itertools.count(1)
        self._tokens = np.random.default_rng(0).integers(
            5, size.vocabulary, (size.batch * self._steps, size.tokens), dtype=np.int32
        )
        self._write_dataset()

    def print_methods(self) -> None:
        """Print a row for each way to train."""
        from training.model import device_type
        from training.speed import device_name

        print(f"{device_name(device_type())}; sequences of {self._size.tokens:,} tokens\n")
        print("| weights | trained | tokens/s | MFU | memory, GB |\n|---|---|---|---|---|")
        for method in self._options.methods:
            found = self._measure(self._config(method))
            print(
                f"| {found.weights:,} | {method} | {found.tokens_per_s:,.0f} | {found.mfu:.1%} | "
                f"{found.memory_mb / 1000:.1f} |",
                flush=True,
            )

    def _config(self, method: str) -> TrainConfig:
        model: dict[str, Any]
        if method == "lora":
            model = {"name": str(self._base()), "method": "lora"}
        else:
            architecture = self._size.architecture()
            model = {"architecture": architecture, "tokenizer": str(self._folder / "tokenizer")}
        content = {
            "objective": "pretrain",
            "output": str(self._folder / f"run-{next(self._numbers)}"),
            "model": model,
            "data": {"streams": [{"dataset": str(self._folder / "tokens")}]},
            "duration": f"{self._steps}ba",
            "batch": {
                "size": self._size.batch,
                "microbatch": self._options.microbatch or "auto",
            },
            "optimizer": {"name": "adamw_fused"},
            "compile": self._options.compile,
            "gradient_checkpointing": self._options.recompute,
            "evaluation": {"interval": "1dur"},
            "checkpoint": {"interval": "1dur", "keep": 1},
            "tracking": {"to": []},
        }
        return TrainConfig.model_validate(content)

    def _measure(self, config: TrainConfig) -> Measure:
        """Train, and read the speed off the log, from the first measured step to the last."""
        from training import pretrain
        from training.run import open_run

        run = open_run(config, lambda progress: None)
        trainer = pretrain.prepare(run)
        model: Any = trainer.model
        weights = sum(each.numel() for each in model.parameters())
        trainer.save_model = lambda *_, **__: None  # type: ignore # tens of gigabytes
        trainer._save_checkpoint = lambda *_, **__: None  # type: ignore
        trainer.train()
        run.folder.unlock()
        steps = [line for line in read_log(Path(config.output)) if "loss" in line]
        first, last = steps[SKIPPED_STEPS - 1], steps[-1]
        speed = (last["tokens"] - first["tokens"]) / (last["time"] - first["time"])
        mfu = last["mfu"] / last["tokens_per_s"] * speed
        return Measure(speed, mfu, last["memory_mb"], weights)

    def _base(self) -> Path:
        """A model to adapt, of the same size, written once."""
        from training.model import load_model, load_tokenizer

        folder = self._folder / "base"
        if not folder.exists():
            config = self._config("full")
            tokenizer = load_tokenizer(config.model)
            load_model(config, tokenizer).bfloat16().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return folder

    def _write_dataset(self) -> None:
        """Write the tokens as MDS, as `codeqa convert` would."""
        from transformers import PreTrainedTokenizerFast

        tokenizer = _make_tokenizer(self._size.vocabulary)
        assert isinstance(tokenizer, PreTrainedTokenizerFast)
        tokenizer.save_pretrained(self._folder / "tokenizer")
        folder = self._folder / "tokens"
        settings = ShardSettings(concat_tokens=self._size.tokens)
        rows = [Sample(input_ids=row, length=self._size.tokens) for row in self._tokens]
        write_shards(rows, folder / "train", settings)
        manifest = make_manifest(
            folder,
            name="tokens",
            hash=content_hash({"size": str(self._size), "steps": self._steps}),
            kind="mds",
            sources=[DatasetSource(repo="random", location="random", files=1)],
            settings={"concat_tokens": self._size.tokens, "hashes": list(settings.hashes)},
            splits={"train": SplitCounts(documents=1, samples=len(rows), tokens=self._tokens.size)},
            tokenizer=TokenizerRecord(
                name="random",
                sha256=tokenizer_hash(tokenizer),
                vocab_size=self._size.vocabulary,
            ),
        )
        write_manifest(folder, manifest)


def _make_tokenizer(vocabulary: int) -> Any:  # noqa: ANN401
    """A tokenizer of so many tokens; only their number matters."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<end>": 0, "<pad>": 1} | {f"w{at}": at for at in range(2, vocabulary)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, "<end>")),
        eos_token="<end>",
        pad_token="<pad>",
    )


if __name__ == "__main__":
    sys.exit(main())
