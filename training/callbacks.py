"""What watches a run: its log, its speed, its samples, and the wish to stop it.

Callbacks of transformers, so that its `Trainer` and TRL's take them alike. They change nothing of
what is learned; they set when to evaluate, to save and to stop.
"""

import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from transformers import (
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from data_tools.progress import Progress, ReportProgress
from training.run_folder import RunFolder
from training.speed import Speed, SpeedMeter, memory_mb

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What is in the log under a name of our own, or says nothing about the run.
_NOT_LOGGED = {
    "num_input_tokens_seen",
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_tokens_per_second",
    "total_flos",
    "train_loss",
}


class Watch(TrainerCallback):
    """Writes the log, with speed, memory and the time that is left; shows progress.

    :param epoch_steps: steps of one pass over the data.
    """

    def __init__(
        self,
        folder: RunFolder,
        meter: SpeedMeter,
        *,
        epoch_steps: int,
        device: str,
        report: ReportProgress,
    ) -> None:
        self._folder = folder
        self._meter = meter
        self._epoch_steps = epoch_steps
        self._device = device
        self._report = report
        self._tokens = 0
        self._speed: Speed | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin to measure."""
        self._tokens = int(state.num_input_tokens_seen)
        self._meter.resume()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measure a step; evaluate and save after the last one."""
        tokens = int(state.num_input_tokens_seen)
        self._speed = self._meter.add_step(tokens - self._tokens)
        self._tokens = tokens
        state.epoch = state.global_step / self._epoch_steps
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        if state.is_world_process_zero:
            self._report(Progress("train", state.global_step, state.max_steps))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Write a line to the log."""
        fields = {key: value for key, value in (logs or {}).items() if key not in _NOT_LOGGED}
        if not set(fields) - {"epoch"}:
            return
        if "loss" in fields:
            fields |= {"tokens": self._tokens} | self._measures(state)
        self._folder.log(state.global_step, fields)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the evaluation out of the speed."""
        self._meter.resume()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the saving out of the speed."""
        self._meter.resume()

    def _measures(self, state: TrainerState) -> dict[str, float | None]:
        if self._speed is None:
            return {}
        left = state.max_steps - state.global_step
        return {
            "tokens_per_s": round(self._speed.tokens_per_s, 1),
            "mfu": None if self._speed.mfu is None else round(self._speed.mfu, 4),
            "memory_mb": round(memory_mb(self._device), 1),
            "seconds_left": round(left * self._speed.step_s, 1),
        }


class Samples(TrainerCallback):
    """Lets the model go on from some texts after each evaluation, always with its likeliest token.

    Every process generates, as weights that are dealt out need all of them; the first one writes.

    :param prompts: what is shown.
    :param render: makes a prompt what the model is given; a chat template, for one.
    :param max_tokens: how many tokens are added.
    """

    def __init__(
        self,
        folder: RunFolder,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[str],
        *,
        max_tokens: int,
        render: Callable[[str], str] = lambda prompt: prompt,
    ) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._prompts = list(prompts)
        self._max_tokens = max_tokens
        self._render = render

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: "PreTrainedModel | None" = None,
        **_: Any,
    ) -> None:
        """Write what the model says now."""
        if not self._prompts or model is None:
            return
        texts = [self._continue(model, prompt) for prompt in self._prompts]
        samples = [
            {"prompt": prompt, "text": text}
            for prompt, text in zip(self._prompts, texts, strict=True)
        ]
        self._folder.log(state.global_step, {"samples": samples})

    def _continue(self, model: "PreTrainedModel", prompt: str) -> str:
        tokens = self._tokenizer(self._render(prompt), return_tensors="pt").to(model.device)
        tokens.pop("token_type_ids", None)
        was_training = model.training
        model.eval()
        with torch.no_grad():
            written = model.generate(  # type: ignore[operator] # a mixin's, typed as a tensor
                **tokens,
                max_new_tokens=self._max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                use_cache=True,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id or 0,
            )
        model.train(was_training)
        new = written[0, tokens["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(new, skip_special_tokens=False))


class Termination:
    """A wish to stop (SIGTERM), which is granted when a step has ended."""

    def __init__(self) -> None:
        self.is_wished = False
        self.is_granted = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._wish)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _wish(self, number: int, frame: FrameType | None) -> None:
        self.is_wished = True


class StopWhenWished(TrainerCallback):
    """Saves and stops after the step in which any process was told to."""

    def __init__(self, termination: Termination) -> None:
        self._termination = termination

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Agree with the other processes whether to go on."""
        wished = torch.tensor(int(self._termination.is_wished), device=args.device)
        if args.world_size > 1:
            torch.distributed.all_reduce(wished, torch.distributed.ReduceOp.MAX)
        if wished and state.global_step < state.max_steps:
            self._termination.is_granted = True
            control.should_save = control.should_training_stop = True
