"""How long a run is, and what transformers' `Trainer` is told of it.

Plain functions of the configuration, so that pretraining and instruction tuning are told the same.
A step of the `Trainer` takes the whole batch of a device: that it is cut into microbatches is the
business of `training.trainer`, which can then cut it smaller while the run goes on.
"""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from data_tools.errors import ConfigError
from training.config import TrainConfig
from training.model import calculates_in_bfloat16, device_type

_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_fused": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
}
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
TIMEOUT_S = 1800  # until processes that wait for each other give up
WORKERS = {"cpu": 0, "cuda": 2}  # processes that read data, for each one that trains


@dataclass(frozen=True)
class Plan:
    """How long a run is, in optimiser steps.

    :param epoch_steps: steps of one pass over the data.
    :param steps: of the whole run.
    :param warmup: over which the learning rate rises.
    :param evaluate_every: steps between two evaluations.
    :param save_every: steps between two checkpoints.
    """

    epoch_steps: int
    steps: int
    warmup: int
    evaluate_every: int
    save_every: int


def plan_run(config: TrainConfig, *, samples: int) -> Plan:
    """Work out a run's length.

    :param samples: in one epoch, over all processes.
    """
    epoch_steps = max(math.ceil(samples / config.batch.size), 1)
    steps = max(config.duration.steps(epoch_steps=epoch_steps), 1)
    lengths = {"epoch_steps": epoch_steps, "total_steps": steps}
    return Plan(
        epoch_steps=epoch_steps,
        steps=steps,
        warmup=min(config.optimizer.warmup.steps(**lengths), steps),
        evaluate_every=max(config.evaluation.interval.steps(**lengths), 1),
        save_every=max(config.checkpoint.interval.steps(**lengths), 1),
    )


def device_batch(config: TrainConfig, processes: int) -> int:
    """How many sequences of a step one process takes.

    :raises ConfigError: they cannot be dealt out evenly.
    """
    if config.batch.size % processes:
        lower = max(config.batch.size // processes, 1) * processes
        raise ConfigError(
            f"`batch.size` {config.batch.size} cannot be dealt out to {processes} processes; "
            f"set batch.size={lower}, or another multiple of {processes}"
        )
    return config.batch.size // processes


def training_arguments(
    config: TrainConfig, plan: Plan, *, processes: int, sharded: bool = False
) -> dict[str, Any]:
    """Make the arguments of `TrainingArguments`, or of TRL's `SFTConfig`.

    :param processes: that train together.
    :param sharded: weights, gradients and moments are dealt out to the processes (FSDP 2).
    :raises ConfigError: the batch cannot be dealt out, or the optimiser is not installed.
    """
    device = device_type()
    return {
        "output_dir": config.output,
        "per_device_train_batch_size": device_batch(config, processes),
        "gradient_accumulation_steps": 1,
        "max_steps": plan.steps,
        "num_train_epochs": math.ceil(plan.steps / plan.epoch_steps),
        **_optimizer(config, plan),
        **_precision(config, device),
        **_intervals(plan),
        **_reading(device),
        "use_cpu": device == "cpu",
        "seed": config.seed,
        "data_seed": config.seed,
        "average_tokens_across_devices": True,
        "include_num_input_tokens_seen": "all",
        "logging_nan_inf_filter": False,  # training.guards stops at them
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "ddp_timeout": TIMEOUT_S,
        **(_sharding(config) if sharded else {}),
    }


def _optimizer(config: TrainConfig, plan: Plan) -> dict[str, Any]:
    settings = config.optimizer
    if settings.name == "adamw_8bit" and find_spec("bitsandbytes") is None:
        raise ConfigError("optimizer.name=adamw_8bit needs bitsandbytes; run `make qlora`")
    return {
        "optim": _OPTIMIZERS[settings.name],
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "adam_beta1": settings.betas[0],
        "adam_beta2": settings.betas[1],
        "lr_scheduler_type": _SCHEDULES[settings.schedule],
        "warmup_steps": plan.warmup,
        "max_grad_norm": settings.clip,
    }


def _precision(config: TrainConfig, device: str) -> dict[str, Any]:
    return {
        "bf16": calculates_in_bfloat16(config),
        "tf32": True if device == "cuda" else None,
        "torch_compile": config.compile,
        "gradient_checkpointing": config.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    }


def _intervals(plan: Plan) -> dict[str, Any]:
    return {
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_first_step": True,
        "eval_strategy": "steps",
        "eval_steps": plan.evaluate_every,
        "save_strategy": "steps",
        "save_steps": plan.save_every,
        "save_total_limit": None,  # training.checkpoints removes the old ones
    }


def _reading(device: str) -> dict[str, Any]:
    return {
        "dataloader_num_workers": WORKERS[device],
        "dataloader_pin_memory": device == "cuda",
    }


def _sharding(config: TrainConfig) -> dict[str, Any]:
    """FSDP 2; it recomputes activations itself, so the `Trainer` must not."""
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "reshard_after_forward": True,
            "state_dict_type": "FULL_STATE_DICT",
            "activation_checkpointing": config.gradient_checkpointing,
        },
        "gradient_checkpointing": False,
    }
