"""Weights that are dealt out to several processes (FSDP 2): gathered, and dealt out again.

Every function is called by all processes together. What is written is what a single process would
have written, so that a checkpoint can go on with another number of processes.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)

from data_tools.errors import TrainingError


def gather_weights(model: nn.Module) -> dict[str, Any]:
    """Gather all weights on the first process, in its main memory; the others get none.

    A weight that two layers share is there once.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    shared = every - {name for name, _ in model.named_parameters()}
    return {name: weight for name, weight in weights.items() if name not in shared}


def deal_out_weights(model: nn.Module, folder: Path, *, is_first: bool) -> None:
    """Deal out the weights of a model or an adapter that was written to `folder`.

    :raises TrainingError: it holds weights that the model does not have.
    """
    weights: dict[str, Any] = {}
    if is_first:
        known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        for file in sorted(folder.glob("*model*.safetensors")):
            for name, weight in load_file(file).items():
                weights[_own_name(name, known, folder)] = weight
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(model, weights, options=options)


def _own_name(name: str, known: set[str], folder: Path) -> str:
    """The model's name of a weight; adapters are written without their own name."""
    before, _, last = name.rpartition(".")
    for candidate in (name, f"{before}.default.{last}", f"{name}.default"):
        if candidate in known:
            return candidate
    raise TrainingError(
        f"the checkpoint {folder} has a weight `{name}` that the model has not; remove it, and "
        "the run goes on from the one before"
    )
