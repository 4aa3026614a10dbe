"""What every run has, whatever its objective: folder, tokenizer, checkpoints, callbacks, result.

`open_run` sets it up; an objective's `prepare(run)` calls `begin` once its data is known, makes
its trainer with `arguments`, and gives it to `equip`. Only the first of several processes writes
and reports.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from data_tools.drafts import whole_folder
from data_tools.progress import Progress, ReportProgress
from data_tools.storage import storage_errors
from data_tools.tokenizer import tokenizer_hash
from training.arguments import Plan, device_batch, training_arguments
from training.callbacks import Samples, StopWhenWished, Termination, Watch
from training.checkpoints import Checkpoints, wait_for_all
from training.config import TrainConfig
from training.hashes import model_hash, template_hash
from training.model import calculates_in_bfloat16, device_type, find_model, load_tokenizer
from training.run_folder import RunFolder
from training.speed import SpeedMeter, flops_per_token, peak_flops
from training.tracking import tracking_callbacks
from training.trainer import RunParts, RunTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

CARD = "codeqa.json"  # what a model was made of; marks its folder
CPU_MICROBATCH_TOKENS = 8192  # more at once are no faster on a processor, and cost memory
BYTES_PER_WEIGHT = 16  # in training: float32 weight, gradient and two moments of AdamW
DEVICE_SHARE = 0.8  # of a card's memory for those; the rest is for activations


@dataclass
class Run:
    """A run that is set up.

    :param processes: that train together; `rank` is this one's number.
    :param resume: the checkpoint that it goes on from.
    """

    config: TrainConfig
    folder: RunFolder
    checkpoints: Checkpoints
    tokenizer: "PreTrainedTokenizerBase"
    report: ReportProgress
    rank: int
    processes: int
    resume: Path | None = None
    termination: Termination = field(default_factory=Termination)
    tracking: "list[TrainerCallback]" = field(default_factory=list)
    _facts: dict[str, Any] = field(default_factory=dict)

    def begin(self, datasets: Sequence[str], **facts: object) -> None:
        """Write down what the run is, once its data is known.

        :param datasets: versions, `NAME@HASH`.
        :param facts: more for `run.json`.
        :raises ConfigError: the folder holds a run on other data.
        :raises StorageError: the folder cannot be written.
        """
        self.folder.check_facts(list(datasets))
        wait_for_all()
        self._facts = self.folder.begin(list(datasets), **facts)
        self.checkpoints.clean()
        self.resume = self.checkpoints.last()
        wait_for_all()

    def arguments(self, plan: Plan, model: "PreTrainedModel") -> dict[str, Any]:
        """Make the arguments of `TrainingArguments` or of TRL's `SFTConfig`."""
        sharded = self._is_sharded(model)
        return training_arguments(self.config, plan, processes=self.processes, sharded=sharded) | {
            "eval_on_start": self.resume is None
        }

    def equip(
        self,
        trainer: RunTrainer,
        plan: Plan,
        *,
        sequence_tokens: int,
        stream_state: Callable[[], Mapping[str, Any] | None] = lambda: None,
        render: Callable[[str], str] = lambda prompt: prompt,
    ) -> dict[str, Any]:
        """Give a trainer its guard, checkpoints, log, speed, samples and tracking.

        :param sequence_tokens: length of the sequences.
        :param stream_state: where the data was read to, for a checkpoint.
        :param render: makes a sample's prompt what the model is given.
        :return: the state of the checkpoint that the run goes on from; empty at its beginning.
        """
        device = device_type()
        is_auto = self.config.batch.microbatch == "auto"
        parts = RunParts(
            folder=self.folder,
            checkpoints=self.checkpoints,
            report=self.report,
            microbatch=self._first_microbatch(sequence_tokens),
            may_shrink=is_auto,
            resume=self.resume,
            stream_state=stream_state,
        )
        state = parts.restore()
        trainer.attach(parts)
        peak = peak_flops(device, bfloat16=calculates_in_bfloat16(self.config)) * self.processes
        model = cast("PreTrainedModel", trainer.model)
        meter = SpeedMeter(flops_per_token(model, sequence_tokens), peak)
        trainer.add_callback(
            Watch(
                self.folder,
                meter,
                epoch_steps=plan.epoch_steps,
                device=device,
                report=self.report,
            )
        )
        evaluation = self.config.evaluation
        trainer.add_callback(
            Samples(
                self.folder,
                self.tokenizer,
                evaluation.prompts,
                max_tokens=evaluation.prompt_tokens,
                render=render,
            )
        )
        trainer.add_callback(StopWhenWished(self.termination))
        self.tracking = tracking_callbacks(self.config, self._facts, self.report)
        for callback in self.tracking:
            trainer.add_callback(callback)
        return state

    def write_result(self, trainer: RunTrainer) -> None:
        """Write the model or the adapter, with its tokenizer and card; by all processes.

        :raises StorageError: the disk is full; the checkpoints stay.
        """
        if self.rank:
            trainer.save_model(str(self.folder.result))  # takes part where weights are dealt out
        else:
            result = self.folder.result
            with whole_folder(result, CARD) as draft, storage_errors(result):
                trainer.save_model(str(draft))
                self._finish_config(draft)
                text = json.dumps(self._card(), indent=2) + "\n"
                (draft / CARD).write_text(text, "utf-8")
        wait_for_all()

    def _finish_config(self, draft: Path) -> None:
        """Let whoever loads the model remember what it has read, which training does not."""
        file = draft / "config.json"
        if file.is_file():
            content = json.loads(file.read_text("utf-8"))
            file.write_text(json.dumps(content | {"use_cache": True}, indent=2) + "\n", "utf-8")

    def _card(self) -> dict[str, Any]:
        base = self.config.model.name
        return {
            "objective": self.config.objective,
            "method": self.config.model.method,
            "base": base,
            "base_sha256": model_hash(find_model(base)) if base else None,
            "datasets": self._facts.get("datasets", []),
            "tokenizer_sha256": tokenizer_hash(self.tokenizer),
            "template_sha256": template_hash(self.tokenizer),
            "seed": self.config.seed,
            "commit": self._facts.get("commit"),
            "versions": self._facts.get("versions", {}),
        }

    def _first_microbatch(self, sequence_tokens: int) -> int:
        batch = device_batch(self.config, self.processes)
        if self.config.batch.microbatch != "auto":
            return min(self.config.batch.microbatch, batch)
        if device_type() == "cpu":
            return min(batch, max(CPU_MICROBATCH_TOKENS // sequence_tokens, 1))
        return batch

    def _is_sharded(self, model: "PreTrainedModel") -> bool:
        if self.processes == 1 or self.config.parallel == "ddp":
            return False
        if self.config.parallel == "fsdp":
            return True
        import torch

        if device_type() == "cpu":
            return False
        trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
        frozen = sum(each.nbytes for each in model.parameters() if not each.requires_grad)
        memory = torch.cuda.get_device_properties(0).total_memory
        return trained * BYTES_PER_WEIGHT + frozen > DEVICE_SHARE * memory


def open_run(config: TrainConfig, report: ReportProgress) -> Run:
    """Set up a run in its folder.

    :raises ConfigError: the folder holds another run.
    :raises TrainingError: another process is training in it.
    :raises ModelError: the tokenizer cannot be loaded.
    """
    rank = int(os.environ.get("RANK", "0"))
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    is_first = rank == 0
    folder = RunFolder(config, is_writer=is_first)
    folder.lock()
    folder.check()
    own_report = report if is_first else _ignore
    return Run(
        config=config,
        folder=folder,
        checkpoints=Checkpoints(
            folder.checkpoints,
            keep=config.checkpoint.keep,
            url=config.checkpoint.upload,
            is_writer=is_first,
            report=own_report,
        ),
        tokenizer=load_tokenizer(config.model),
        report=own_report,
        rank=rank,
        processes=processes,
    )


def _ignore(progress: Progress) -> None:
    """Tell nobody; the first process does."""
