"""Which adapters there are, what they adapt, and whether they fit a base.

Only configurations and the heads of safetensors files are read. A folder that is broken is listed
with the reason, not left out.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_tools.errors import ModelError
from training.export_source import check_weights, read_object
from training.hashes import model_hash, weight_files
from training.lora import ADAPTER_CONFIG, FACTS

FOLDERS_VARIABLE = "CUSTOM_LORA_ADAPTERS_DIR"
MAX_DEPTH = 3  # of folders below the one that is searched: runs, models of one owner, …
_PASSED_OVER = {"checkpoints", "node_modules", "__pycache__"}
_PREFIX = "base_model.model."  # peft's, before the name of the layer that is adapted


@dataclass(frozen=True)
class Adapter:
    """An adapter on this machine.

    :param base: the model that it was made from, by name or folder.
    :param rank: of the matrices; None where it is not LoRA.
    :param targets: names of layers, or one pattern.
    :param fits: whether it fits the base asked about; None where none was.
    :param problem: why it is broken or does not fit; "" otherwise.
    """

    folder: str
    base: str | None = None
    rank: int | None = None
    alpha: float | None = None
    targets: tuple[str, ...] = ()
    method: str | None = None
    size_bytes: int = 0
    fits: bool | None = None
    problem: str = ""


def adapter_folders(given: Sequence[Path]) -> list[Path]:
    """The folders to search: those given, and what `CUSTOM_LORA_ADAPTERS_DIR` names.

    :raises ModelError: one of them is not there, or none is named.
    """
    named = os.environ.get(FOLDERS_VARIABLE, "")
    folders = list(dict.fromkeys([*given, *map(Path, filter(None, named.split(os.pathsep)))]))
    if not folders:
        raise ModelError(f"name a folder of adapters, or set {FOLDERS_VARIABLE}")
    for folder in folders:
        if not folder.is_dir():
            raise ModelError(f"there is no folder {folder}; correct it, or {FOLDERS_VARIABLE}")
    return folders


def list_adapters(folders: Sequence[Path], base: Path | None = None) -> list[Adapter]:
    """Find the adapters in some folders and below; checkpoints of runs are passed over.

    :param base: a model's folder, to see which fit it.
    :raises ModelError: `base` holds no weights.
    """
    found = dict.fromkeys(path for folder in folders for path in _find(folder, MAX_DEPTH))
    base_hash = model_hash(base) if base else ""
    return [_examine(folder, base, base_hash) for folder in found]


def _find(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / ADAPTER_CONFIG).is_file() or (folder / "adapter_model.safetensors").is_file():
        yield folder
        return
    if depth:
        for inner in sorted(folder.iterdir()):
            hidden = inner.name.startswith(".") or inner.name in _PASSED_OVER
            if not hidden and inner.is_dir() and not inner.is_symlink():
                yield from _find(inner, depth - 1)


def _examine(folder: Path, base: Path | None, base_hash: str) -> Adapter:
    adapter = Adapter(str(folder))
    try:
        config = read_object(folder / ADAPTER_CONFIG)
        facts = read_object(folder / FACTS)
        adapter = _describe(folder, config, facts)
        check_weights(folder)
        _check_config(folder, config)
    except ModelError as error:
        return replace(adapter, fits=False if base else None, problem=str(error))
    if base is None:
        return adapter
    noted = facts.get("base_sha256")
    problem = _compare_shapes(folder, base) if noted is None else ""
    if noted not in (None, base_hash):
        problem = f"it was trained on other weights ({noted[:12]}…) than those ({base_hash[:12]}…)"
    return replace(adapter, fits=not problem, problem=problem)


def _describe(folder: Path, config: dict[str, Any], facts: dict[str, Any]) -> Adapter:
    targets = config.get("target_modules") or ()
    rank, alpha = config.get("r"), config.get("lora_alpha")
    return Adapter(
        folder=str(folder),
        base=facts.get("base") or config.get("base_model_name_or_path"),
        rank=rank if isinstance(rank, int) else None,
        alpha=alpha if isinstance(alpha, int | float) else None,
        targets=(targets,) if isinstance(targets, str) else tuple(sorted(map(str, targets))),
        method=facts.get("method") or config.get("peft_type"),
        size_bytes=sum(file.stat().st_size for file in weight_files(folder)),
    )


def _check_config(folder: Path, config: dict[str, Any]) -> None:
    if not config:
        raise ModelError(f"{folder} has no {ADAPTER_CONFIG}; copy the adapter again")
    if config.get("peft_type") != "LORA":
        raise ModelError(f"it is no LoRA adapter but {config.get('peft_type')}; vLLM takes none")


def _compare_shapes(folder: Path, base: Path) -> str:
    """Compare an adapter's matrices with the layers of a base; "" if they fit."""
    layers, matrices = _shapes(base), _shapes(folder)
    for name, shape in sorted(matrices.items()):
        for part, side in ((".lora_A.weight", 1), (".lora_B.weight", 0)):
            if not name.endswith(part):
                continue
            layer = name.removeprefix(_PREFIX).removesuffix(part)
            expected = layers.get(f"{layer}.weight")
            if expected is None:
                return f"the base has no layer {layer}"
            if shape[side] != expected[side]:
                return f"{layer} is {expected[side]} wide in the base, {shape[side]} here"
    return ""


def _shapes(folder: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    shapes = {}
    for file in weight_files(folder):
        with safe_open(file, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no dictionary
                shapes[name] = weights.get_slice(name).get_shape()
    return shapes
