"""transformers' `Trainer` as every run uses it, for pretraining and instruction tuning alike.

A step takes the whole batch of its device and cuts it into microbatches itself; what runs out of
memory is cut in halves and tried again, and the batch stays the same. The loss is the mean over
all tokens of the batch, over all processes and microbatches. Checkpoints are whole or absent.
Subclass it together with another trainer (`class InstructTrainer(RunTrainer, SFTTrainer)`); what
it needs to know is given to `attach`, after it was made.
"""

import gc
import math
import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    save_fsdp_optimizer,
)
from accelerate.utils.memory import should_reduce_batch_size
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerState

from data_tools.errors import TrainingError
from data_tools.progress import Progress, ReportProgress
from training.checkpoints import Checkpoints, damage_errors, read_state, write_state
from training.completions import IGNORED
from training.guards import SpikeGuard
from training.run_folder import RunFolder
from training.sharded import deal_out_weights, gather_weights

Inputs = dict[str, Any]
TRAINER_STATE = "trainer_state.json"  # transformers' own, in a checkpoint
TRIED_STEPS = 2  # the optimiser's moments take their memory after the first one


@dataclass
class RunParts:
    """What a trainer of a run works with.

    :param microbatch: sequences of one forward pass; halved while they do not fit, if
        `may_shrink`.
    :param resume: the checkpoint that the run goes on from.
    """

    folder: RunFolder
    checkpoints: Checkpoints
    report: ReportProgress
    microbatch: int
    may_shrink: bool
    resume: Path | None = None
    guard: SpikeGuard = field(default_factory=SpikeGuard)
    stream_state: Callable[[], Mapping[str, Any] | None] = lambda: None

    def restore(self) -> dict[str, Any]:
        """Take over the guard and the microbatch of the checkpoint; return all of its state.

        :raises TrainingError: the checkpoint is damaged.
        """
        if self.resume is None:
            return {}
        state = read_state(self.resume)
        with damage_errors(self.resume):
            self.guard.restore(**state["guard"])
            if self.may_shrink:
                self.microbatch = min(self.microbatch, int(state["microbatch"]))
        return state


class RunTrainer(Trainer):
    """A `Trainer` that cuts its batches, guards its steps and writes whole checkpoints."""

    parts: RunParts
    _step_loss = math.nan
    _step_batch = ""

    def attach(self, parts: RunParts) -> None:
        """Give the trainer what it works with; before `train`.

        :raises TrainingError: the checkpoint that the run goes on from is damaged, or was written
            with dealt out weights and the run has whole ones, or the other way round.
        """
        self.parts = parts
        self.remove_callback(PrinterCallback)  # it prints to stdout
        if parts.resume is None:
            return
        before = read_state(parts.resume)
        with damage_errors(parts.resume):  # transformers' own reading of it has no such guard
            TrainerState.load_from_json(str(parts.resume / TRAINER_STATE))
            was_sharded = bool(before["sharded"])
        if was_sharded is not self.is_fsdp_enabled:
            way = "fsdp" if was_sharded else "ddp"
            raise TrainingError(
                f"{parts.resume} was written with parallel={way}; set that and start as many "
                "processes as before, or give another `output`"
            )

    def clean_up(self) -> None:
        """Remove what only this run needed; after its model is written."""

    # -- steps

    def training_step(
        self,
        model: nn.Module,
        inputs: Inputs,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Learn from the whole batch of this device.

        :return: its part of the mean loss over all tokens, scaled by the number of processes.
        :raises TrainingError: one sequence alone does not fit.
        """
        if self.accelerator.num_processes > 1:
            if self.parts.may_shrink and self.state.global_step < TRIED_STEPS:
                self._agree_on_microbatch(model, inputs, num_items_in_batch)
            loss = self._accumulate(model, inputs, num_items_in_batch)
        else:
            loss = self._accumulate_while_it_fits(model, inputs, num_items_in_batch)
        self._remember_step(loss, _batch_digest(inputs))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, a step with what it learned from."""
        if "loss" in logs:
            logs["batch"] = self._step_batch  # type: ignore[assignment] # a name, not a number
        super().log(logs, start_time)

    def _remember_step(self, loss: torch.Tensor, digest: int) -> None:
        """Keep the loss and the digest of a step over all processes."""
        step = torch.stack([loss.double(), torch.tensor(digest, device=loss.device).double()])
        if self.args.world_size > 1:
            torch.distributed.all_reduce(step)
        total_loss, digests = step.tolist()
        self._step_loss = total_loss / self.accelerator.num_processes
        self._step_batch = f"{int(digests) % 2**32:08x}"

    def split_batch(self, inputs: Inputs, size: int) -> list[Inputs]:
        """Cut a batch into parts of at most `size` sequences.

        To be overridden where rows are no sequences.

        :param inputs: tensors of shape (sequences, …).
        """
        sequences = len(next(iter(inputs.values())))
        return [
            {name: value[start : start + size] for name, value in inputs.items()}
            for start in range(0, sequences, size)
        ]

    def _accumulate(
        self, model: nn.Module, inputs: Inputs, items: torch.Tensor | int | None
    ) -> torch.Tensor:
        """Sum the gradients of the microbatches; other processes are heard at the last one."""
        parts = self.split_batch(inputs, self.parts.microbatch)
        total = torch.zeros((), device=self.args.device)
        for number, part in enumerate(parts, start=1):
            is_last = number == len(parts)
            # Sharded gradients are dealt out every time: kept whole, they would not fit.
            waits = is_last or self.accelerator.num_processes == 1 or self.is_fsdp_enabled
            with nullcontext() if waits else self.accelerator.no_sync(model):
                total += super().training_step(model, part, items)
        return total

    def _accumulate_while_it_fits(
        self, model: nn.Module, inputs: Inputs, items: torch.Tensor | int | None
    ) -> torch.Tensor:
        while True:
            try:
                return self._accumulate(model, inputs, items)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = error.with_traceback(None)  # its frames hold the tensors
            self._forget_gradients(model)
            self._halve(reason)

    def _agree_on_microbatch(
        self, model: nn.Module, inputs: Inputs, items: torch.Tensor | int | None
    ) -> None:
        """Try a microbatch on all processes, and halve it on all if it does not fit one.

        What does not fit later stops the run: processes that wait for one that failed cannot be
        told to try again.
        """
        while True:
            part = self.split_batch(inputs, self.parts.microbatch)[0]
            reason: BaseException | None = None
            try:
                with nullcontext() if self.is_fsdp_enabled else self.accelerator.no_sync(model):
                    super().training_step(model, part, items)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = error.with_traceback(None)
            self._forget_gradients(model)
            failed = torch.tensor(int(reason is not None), device=self.args.device)
            torch.distributed.all_reduce(failed, torch.distributed.ReduceOp.MAX)
            if not failed:
                return
            self._halve(reason)

    def _halve(self, reason: BaseException | None) -> None:
        if not self.parts.may_shrink or self.parts.microbatch == 1:
            size = self.parts.microbatch
            fix = (
                "use shorter sequences, a smaller model, `gradient_checkpointing: true` or "
                "`method: qlora`"
                if size == 1
                else "set batch.microbatch=auto"
            )
            raise TrainingError(
                f"a microbatch of {size} does not fit the memory; {fix}; {self._last_checkpoint()}"
            ) from reason
        self.parts.microbatch = math.ceil(self.parts.microbatch / 2)
        message = f"out of memory: from here on {self.parts.microbatch} sequences at once"
        self._notice(message, microbatch=self.parts.microbatch)

    @staticmethod
    def _forget_gradients(model: nn.Module) -> None:
        model.zero_grad(set_to_none=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # -- guards

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:  # noqa: ANN401
        """Look at a step's gradient before it is used.

        :raises TrainingError: it is no number.
        """
        found = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        norm = float(found)
        step = self.state.global_step + 1
        if not math.isfinite(norm):
            raise TrainingError(
                f"step {step} has a loss of {self._step_loss:g} and a gradient that is no number; "
                "lower optimizer.learning_rate or look at the data, and give a new `output`; "
                f"{self._last_checkpoint()}"
            )
        if self.parts.guard.should_skip(self._step_loss, norm):
            model.zero_grad(set_to_none=True)  # the optimiser passes over weights without one
            self._notice(
                f"step {step} is skipped: its loss is {self._step_loss:.3f} and the norm of its "
                f"gradient {norm:.3g}, far above the steps before it",
                skipped_loss=self._step_loss,
                skipped_grad_norm=norm,
            )
        return found

    def _last_checkpoint(self) -> str:
        last = self.parts.checkpoints.last()
        return f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"

    def _notice(self, message: str, **fields: object) -> None:
        if self.is_world_process_zero():
            self.parts.folder.log(self.state.global_step, {"event": message, **fields})
            self.parts.report(Progress("notice", message=message))

    # -- checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401
        """Write a whole checkpoint, by all processes."""
        with self.parts.checkpoints.write(self.state.global_step) as folder:
            self.save_model(str(folder), _internal_call=True)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_rng_state(str(folder))
            if self.args.should_save:
                self.state.log_history = []  # it is in the run's log
                self.state.save_to_json(str(folder / TRAINER_STATE))
                state = {
                    "guard": self.parts.guard.state(),
                    "microbatch": self.parts.microbatch,
                    "stream": self.parts.stream_state(),
                    "processes": self.args.world_size,
                    "sharded": self.is_fsdp_enabled,
                }
                write_state(folder, state)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401
        """Write the weights and the tokenizer, and no pickle of the arguments."""
        super()._save(output_dir, state_dict=state_dict)
        folder = Path(output_dir or str(self.args.output_dir))
        (folder / "training_args.bin").unlink(missing_ok=True)

    # -- sharding

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model as a Hugging Face folder; weights that are dealt out are gathered."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call=_internal_call)
            return
        assert isinstance(self.model, nn.Module)
        weights = gather_weights(self.model)
        if self.args.should_save:
            self._save(output_dir, state_dict=weights)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir)
        if self.args.should_save and self.lr_scheduler is not None:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _run_epoch(self, *args: Any, **how: Any) -> None:  # noqa: ANN401
        """Take no step beyond the last: a run may go on from the checkpoint of that one."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **how)  # type: ignore[no-untyped-call]
        else:
            self.control.should_training_stop = True

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        with damage_errors(Path(resume_from_checkpoint)):
            if not self.is_fsdp_enabled or model is None:
                super()._load_from_checkpoint(resume_from_checkpoint, model)
                return
            is_first = self.accelerator.is_main_process
            deal_out_weights(model, Path(resume_from_checkpoint), is_first=is_first)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with damage_errors(Path(checkpoint or "")):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with damage_errors(Path(checkpoint or "")):
            super()._load_rng_state(checkpoint)

    def create_accelerator_and_postprocess(self) -> None:
        """Shard on processors too, where accelerate would silently copy the model instead."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp_plugin_args is None:
            return
        state = self.accelerator.state
        if state.distributed_type == DistributedType.MULTI_CPU:
            plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
            if self.args.bf16:
                plugin.set_mixed_precision("bf16")
            state.fsdp_plugin = plugin
            state.distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True
        if not self.accelerator.is_fsdp2:
            raise TrainingError(
                "accelerate does not shard the model here; set parallel=ddp, or start the run "
                "with NUM_GPU_WORKERS of 2 or more"
            )


def _batch_digest(inputs: Inputs) -> int:
    """Sum up what is learnt of a batch's sequences, whatever their order and padding; CRC-32s."""
    rows = inputs["labels"].cpu().numpy()
    return sum([zlib.crc32(row[row != IGNORED].tobytes()) for row in rows])


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on a card or on the machine."""
    return isinstance(error, MemoryError) or (
        isinstance(error, Exception) and should_reduce_batch_size(error)
    )
