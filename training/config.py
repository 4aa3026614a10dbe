"""What one tuning run is: a YAML file of these records, with `key=value` overrides.

A typing error is an error that names the right key. The resolved configuration, with the seed and
the git commit, is written into the run's folder.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from training.strict import Strict, apply_overrides, read_yaml, validate

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ep|ba|dur)")


@dataclass(frozen=True)
class Duration:
    """A length of training.

    :param value: how many.
    :param unit: `ep` epochs, `ba` batches (optimiser steps), `dur` a share of the whole run.
    """

    value: float
    unit: Literal["ep", "ba", "dur"]

    @classmethod
    def parse(cls, text: object) -> "Duration":
        """Read `1ep`, `200ba` or `0.05dur`.

        :raises ValueError: it is none of these.
        """
        match = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if not match:
            raise ValueError("must be like 1ep (epochs), 200ba (batches) or 0.05dur (a share)")
        value, unit = float(match[1]), match[2]
        if unit == "ba" and not value.is_integer():
            raise ValueError("batches must be a whole number, such as 200ba")
        if unit == "dur" and value > 1:
            raise ValueError("a share of the run must be at most 1dur")
        return cls(value, unit)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"

    def steps(self, *, epoch_steps: int, total_steps: int | None = None) -> int:
        """Count optimiser steps.

        :param epoch_steps: steps in one pass over the data.
        :param total_steps: steps of the whole run; needed for a share of it.
        :raises ValueError: a share of a run whose length is not given.
        """
        if self.unit == "ba":
            return int(self.value)
        if self.unit == "ep":
            return max(1, round(self.value * epoch_steps))
        if total_steps is None:
            raise ValueError("the length of a run cannot be a share of itself")
        return round(self.value * total_steps)


def _parse_duration(value: object) -> Duration:
    return value if isinstance(value, Duration) else Duration.parse(value)


Length = Annotated[Duration, BeforeValidator(_parse_duration), PlainSerializer(str)]
# YAML reads 1e-4 as a string and 1 as an int: both are numbers here.
Number = Annotated[float, BeforeValidator(lambda value: _number(value)), Field(allow_inf_nan=False)]


def _number(value: object) -> object:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Architecture(Strict):
    """A Llama made from nothing, of these sizes; random weights drawn from the run's seed."""

    hidden_size: int = Field(256, ge=32)
    intermediate_size: int = Field(688, ge=32)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    key_value_heads: int = Field(2, ge=1)
    max_tokens: int = Field(2048, ge=16)
    tie_embeddings: bool = True

    @model_validator(mode="after")
    def _whole_heads(self) -> "Architecture":
        if self.hidden_size % (2 * self.heads):
            raise ValueError("`hidden_size` must be an even multiple of `heads`")
        if self.heads % self.key_value_heads:
            raise ValueError("`heads` must be a multiple of `key_value_heads`")
        return self


class Lora(Strict):
    """Low-rank adapters (Hu et al., arXiv:2106.09685).

    :param targets: `all-linear`, or names of layers.
    """

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: Number = Field(0.0, ge=0, lt=1)
    targets: str | list[str] = "all-linear"


class Model(Strict):
    """The model to tune.

    :param name: a Hugging Face folder or name; None for a new model of `architecture`.
    :param tokenizer: a folder or name; default the model's own. Needed with `architecture`.
    :param method: `full` trains all weights, `lora` adapters, `qlora` adapters on a model whose
        weights are held in 4 bits (NF4, doubly quantised; arXiv:2305.14314).
    :param attention: an attention implementation of transformers.
    """

    name: str | None = None
    architecture: Architecture | None = None
    tokenizer: str | None = None
    method: Literal["full", "lora", "qlora"] = "full"
    lora: Lora = Lora()
    attention: str = "sdpa"

    @model_validator(mode="after")
    def _one_origin(self) -> "Model":
        if (self.name is None) == (self.architecture is None):
            raise ValueError("give either `model.name` or `model.architecture`")
        if self.architecture and not self.tokenizer:
            raise ValueError("a new model needs `model.tokenizer`; `codeqa tokenizer` makes one")
        if self.architecture and self.method != "full":
            raise ValueError(f"`method: {self.method}` needs `model.name`, a model to adapt")
        return self


class Stream(Strict):
    """One dataset of MDS shards.

    :param dataset: its folder, `NAME@HASH`, or the URL of an object store.
    :param weight: its share of what is drawn, relative to the other streams'; None draws each
        sample once an epoch.
    :param split: which of its splits is trained on.
    """

    dataset: str
    weight: Number | None = Field(None, gt=0)
    split: str = "train"


class Data(Strict):
    """What is trained on: `streams` of shards to pretrain, `pairs` to instruct.

    :param streams: MDS datasets; several are mixed, one of them against forgetting (replay).
    :param pairs: JSONL files, folders of `train.jsonl` and `validation.jsonl`, versions
        `NAME@HASH`, or datasets of the Hugging Face hub, `hf://OWNER/NAME`.
    :param template: how fields of a row become a conversation: the name of a shipped template,
        or a template's own keys. Default: rows that are conversations already.
    :param max_tokens: longest training sequence of pairs, in tokens; longer pairs are left out,
        and counted.
    :param packing: put several pairs in one sequence, none seeing another.
    """

    streams: list[Stream] = []
    pairs: list[str] = []
    template: str | dict[str, str] | None = None
    max_tokens: int = Field(2048, ge=16)
    packing: bool = True

    @model_validator(mode="after")
    def _all_weights_or_none(self) -> "Data":
        if len({stream.weight is None for stream in self.streams}) > 1:
            raise ValueError("give every stream a `weight`, or none of them")
        return self


class Batch(Strict):
    """How many sequences a step takes.

    :param size: of one optimiser step, over all processes.
    :param microbatch: of one forward pass on one device; `auto` halves until it fits.
    """

    size: int = Field(32, ge=1)
    microbatch: int | Literal["auto"] = "auto"


class Optimizer(Strict):
    """AdamW, and how its rate moves.

    :param name: `adamw`, `adamw_fused` (one kernel for all weights), `adamw_8bit` (bitsandbytes).
    :param learning_rate: the highest one.
    :param warmup: how long it rises to that.
    :param clip: largest norm of a step's gradient; 0 for none.
    """

    name: Literal["adamw", "adamw_fused", "adamw_8bit"] = "adamw"
    learning_rate: Number = Field(3e-4, gt=0)
    weight_decay: Number = Field(0.1, ge=0)
    betas: list[Number] = Field([0.9, 0.95], min_length=2, max_length=2)
    warmup: Length = Duration(0.05, "dur")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: Number = Field(1.0, ge=0)


class Evaluation(Strict):
    """What is measured while training.

    :param interval: how often, besides before the first step and at the end.
    :param batches: of validation data at most, each time.
    :param prompts: texts the model goes on from, logged each time.
    :param prompt_tokens: how many tokens it adds.
    """

    interval: Length = Duration(0.1, "dur")
    batches: int = Field(50, ge=1)
    prompts: list[str] = []
    prompt_tokens: int = Field(48, ge=1)


class Checkpoint(Strict):
    """What is kept of a run while it goes on.

    :param keep: how many, newest first.
    :param upload: URL of an object store that they are copied to.
    """

    interval: Length = Duration(0.1, "dur")
    keep: int = Field(2, ge=1)
    upload: str | None = None


class Tracking(Strict):
    """Where runs are recorded.

    :param to: `mlflow`, `comet_ml`, `wandb`; empty for nowhere.
    :param experiment: default one a dataset and objective.
    :param uri: MLflow's server; default `MLFLOW_TRACKING_URI`, else a local SQLite file.
    """

    to: list[Literal["mlflow", "comet_ml", "wandb"]] = ["mlflow"]
    experiment: str | None = None
    uri: str | None = None


class TrainConfig(Strict):
    """One run of `codeqa train`.

    :param output: the run's folder: checkpoints, resolved configuration, log, and `model/` or
        `adapter/` at the end.
    :param precision: `auto` is bf16 where the processor multiplies it, else fp32.
    :param parallel: over several processes, `ddp` copies the model, `fsdp` shards it; `auto` is
        `ddp` where the model and its optimiser fit one device.
    """

    objective: Literal["pretrain", "instruct"]
    output: str
    seed: int = Field(17, ge=0, lt=2**32)
    model: Model
    data: Data
    duration: Length = Duration(1, "ep")
    batch: Batch = Batch()
    optimizer: Optimizer = Optimizer()
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    gradient_checkpointing: bool = False
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoint = Checkpoint()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _data_of_the_objective(self) -> "TrainConfig":
        if self.objective == "pretrain" and (not self.data.streams or self.data.pairs):
            raise ValueError("`objective: pretrain` needs `data.streams`, and no `data.pairs`")
        if self.objective == "instruct" and (not self.data.pairs or self.data.streams):
            raise ValueError("`objective: instruct` needs `data.pairs`, and no `data.streams`")
        if self.duration.unit == "dur" or not self.duration.value:
            raise ValueError("`duration` must be epochs or batches, such as 1ep or 200ba")
        return self

    def to_yaml(self) -> str:
        """Write the configuration out, defaults included."""
        return str(
            yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        )


def load_config(file: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration, and set what `overrides` say.

    :param overrides: `optimizer.learning_rate=1e-4`, each.
    :raises ConfigError: the file or an override is not as it must be; the message says where.
    """
    content: dict[str, Any] = apply_overrides(read_yaml(file), overrides)
    return validate(TrainConfig, content, str(file))
