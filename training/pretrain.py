"""Continued pretraining: next tokens of mixed MDS streams, measured on their validation splits.

The loss of a validation split is the mean over its tokens, and as bits a byte it can be compared
between tokenizers. How far the stream was read is part of a checkpoint, so that a run that goes on
sees the batches that it would have seen.
"""

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import DataLoader
from transformers import TrainingArguments
from transformers.trainer_utils import TrainOutput

from data_tools.errors import ConfigError
from training.arguments import WORKERS, Plan, plan_run
from training.config import TrainConfig
from training.model import device_type, load_model
from training.run import Run
from training.streams import (
    NOT_LEARNED,
    Source,
    StreamEndedEarlyError,
    ValidationStream,
    keep_apart,
    open_loader,
    open_sources,
    open_training_stream,
    open_validation,
    reading_errors,
)
from training.trainer import RunTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHARDS = "shards"  # folder of a run that shards are fetched to; removed at its end


class PretrainTrainer(RunTrainer):
    """Reads a stream as it comes, and measures validation splits."""

    _iterator: Iterator[Any] | None = None  # of the epoch that is being read

    def read_from(
        self,
        sources: Sequence[Source],
        stream: Any,  # noqa: ANN401 - streaming ships without types
        validation: Sequence[ValidationStream],
        plan: Plan,
        batches: int,
    ) -> None:
        """Give the trainer its data; before `train`.

        :param stream: a `StreamingDataset` of the sources; read by one loader only.
        :param batches: of validation data at most, each time.
        """
        self._sources = sources
        self._stream = stream
        self._validation = validation
        self._plan = plan
        self._batches = batches

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Open the loader; accelerate's own would hang, or drop and repeat samples."""
        device = device_type()
        loader: DataLoader[Any] = open_loader(
            self._stream,
            batch=self.args.per_device_train_batch_size,
            workers=WORKERS[device],
            pinned=device == "cuda",
        )
        return loader

    def train(self, *args: Any, **options: Any) -> TrainOutput:
        """Train, and name a shard that cannot be read.

        :raises DatasetError: there is one.
        """
        with reading_errors(self._sources):
            return super().train(*args, **options)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Read a batch, and notice when the stream ends before it should."""
        read, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        is_first = epoch_iterator is not self._iterator
        self._iterator = epoch_iterator
        step = self.state.global_step % self._plan.epoch_steps
        is_whole = bool(read) and len(read[0]["input_ids"]) == self._train_batch_size
        is_last = bool(read) and step == self._plan.epoch_steps - 1
        # An epoch that was gone on with has nothing left after its last step, and rightly so.
        is_over = not read and step == 0 and not is_first
        if not (is_whole or is_last or is_over):
            raise StreamEndedEarlyError(f"it ended in step {self.state.global_step + 1}")
        return read, items

    def clean_up(self) -> None:
        """Remove the shards that were fetched."""
        if self.is_world_process_zero():
            shutil.rmtree(self.parts.folder.path / SHARDS, ignore_errors=True)

    def stream_state(self) -> dict[str, Any]:
        """Where the stream was read to, told from the steps that were taken.

        The loader's own count may be ahead of them: its processes read in advance.
        """
        epoch, step = divmod(self.state.global_step, self._plan.epoch_steps)
        state: dict[str, Any] = self._stream.state_dict(0, True)
        processes = self.accelerator.num_processes
        samples = step * self.args.per_device_train_batch_size * processes
        return state | {"epoch": epoch, "sample_in_epoch": samples}

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation splits: nats a token and bits a byte, overall and each."""
        model = self.model_wrapped if self.is_fsdp_enabled else self.model
        assert isinstance(model, torch.nn.Module)
        was_training = model.training
        model.eval()
        metrics: dict[str, float] = {}
        nats = tokens = size_bytes = 0.0
        for stream in self._validation:
            stream_nats, stream_tokens = self._measure(model, stream)
            nats, tokens = nats + stream_nats, tokens + stream_tokens
            if stream.bytes_per_token:
                size_bytes += stream_tokens * stream.bytes_per_token
            if len(self._validation) > 1:
                prefix = f"eval_{stream.name}"
                metrics |= _metrics(prefix, stream_nats, stream_tokens, stream.bytes_per_token)
        model.train(was_training)
        if tokens:
            metrics |= _metrics("eval", nats, tokens, size_bytes / tokens)
            self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    @torch.no_grad()
    def _measure(self, model: torch.nn.Module, stream: ValidationStream) -> tuple[float, float]:
        """Sum the nats of a split's tokens, and count them; over all processes."""
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        processes = self.accelerator.num_processes
        step = self.args.per_device_train_batch_size * processes
        size = min(self.parts.microbatch * processes, step)
        windows = min(len(stream), self._batches * step)
        for inputs in stream.batches(
            size, windows, rank=self.accelerator.process_index, processes=processes
        ):
            learned = int((inputs["labels"][:, 1:] != NOT_LEARNED).sum())
            on_device = {name: value.to(self.args.device) for name, value in inputs.items()}
            loss = model(**on_device, num_items_in_batch=1).loss  # so it is a sum
            total += torch.tensor([float(loss), learned], dtype=total.dtype, device=total.device)
        if processes > 1:
            torch.distributed.all_reduce(total)
        return float(total[0]), float(total[1])


def prepare(run: Run) -> PretrainTrainer:
    """Make the trainer of a pretraining run, ready to train.

    :raises ConfigError: the model cannot read the datasets' windows.
    :raises DatasetError: a dataset is missing, or of another tokenizer.
    :raises ModelError: the model cannot be loaded.
    """
    config = run.config
    sources = open_sources(config.data.streams, run.tokenizer)
    run.begin([source.manifest.version for source in sources])
    model = _load(config, run.tokenizer)
    tokens = _window_tokens(sources, model.config.max_position_embeddings)
    samples = sum(source.manifest.splits[source.split].samples for source in sources)
    plan = plan_run(config, samples=samples)
    # Before a stream is opened: this is where the processes find each other.
    arguments = TrainingArguments(**run.arguments(plan, model), ignore_data_skip=True)
    attempt = _number_attempt(run)
    shards = run.folder.path / SHARDS / str(attempt)
    keep_apart(attempt)
    stream = open_training_stream(
        sources, shards, batch=arguments.per_device_train_batch_size, seed=config.seed
    )
    validation = open_validation(sources, shards)
    trainer = PretrainTrainer(
        model=model,
        args=arguments,
        processing_class=run.tokenizer,
        eval_dataset=[each.dataset for each in validation],  # only looked at to be there
    )
    trainer.read_from(sources, stream, validation, plan, config.evaluation.batches)
    state = run.equip(trainer, plan, sequence_tokens=tokens, stream_state=trainer.stream_state)
    if state:
        stream.load_state_dict(state["stream"])
    return trainer


def _load(config: TrainConfig, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    if config.model.method == "full":
        return load_model(config, tokenizer)
    from training.lora import load_with_adapter

    return cast("PreTrainedModel", load_with_adapter(config, tokenizer))


def _number_attempt(run: Run) -> int:
    """A number that no process has used; the same in all of this run. Microseconds.

    The shards that a killed process left are removed, and their folder is not used again, as
    streaming takes it for one that is being read.
    """
    if run.rank == 0:
        shutil.rmtree(run.folder.path / SHARDS, ignore_errors=True)
    number = torch.tensor(time.time_ns() // 1000, device=device_type())
    if run.processes > 1:
        torch.distributed.broadcast(number, 0)
    return int(number)


def _window_tokens(sources: Sequence[Source], longest: int) -> int:
    """Read how long the windows are.

    :raises ConfigError: the model cannot read them, or those of two datasets differ.
    """
    lengths = {int(str(source.manifest.settings["concat_tokens"])) for source in sources}
    if len(lengths) > 1:
        raise ConfigError(
            f"the datasets have windows of {' and '.join(map(str, sorted(lengths)))} tokens; "
            "convert them with the same --concat-tokens"
        )
    tokens = lengths.pop()
    if tokens > longest:
        raise ConfigError(
            f"the datasets have windows of {tokens:,} tokens, and the model reads {longest:,}; "
            "convert them with a smaller --concat-tokens, or set model.architecture.max_tokens"
        )
    return tokens


def _metrics(
    prefix: str, nats: float, tokens: float, bytes_per_token: float | None
) -> dict[str, float]:
    found = {f"{prefix}_loss": nats / tokens} if tokens else {}
    if tokens and bytes_per_token:
        found[f"{prefix}_bits_per_byte"] = nats / tokens / math.log(2) / bytes_per_token
    return found
