"""What there is to export: a run's result or newest checkpoint, or any model or adapter folder.

Weights are checked here before anything is written: every file that should be there is, and is
whole. Nothing is loaded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_tools.errors import ModelError
from training.checkpoints import step_of
from training.hashes import weight_files
from training.lora import ADAPTER_CONFIG, FACTS
from training.run_folder import CONFIG, RESULTS
from training.run_folder import FACTS as RUN_FACTS

INDEX = "model.safetensors.index.json"  # transformers': which file holds which weight


@dataclass(frozen=True)
class Source:
    """A model or an adapter that can be exported.

    :param folder: where its weights are.
    :param run: the run's folder, where it is of one.
    :param step: of the checkpoint; None for a result, or a folder of no run.
    :param facts: what `codeqa.json` and `run.json` say of it.
    """

    folder: Path
    kind: Literal["model", "adapter"]
    run: Path | None
    step: int | None
    facts: Mapping[str, Any]


def find_source(path: Path) -> Source:
    """Find what a path names: a run's folder, a checkpoint, a model or an adapter.

    :raises ModelError: there is nothing of these, or its weights are damaged.
    """
    if not path.is_dir():
        raise ModelError(f"there is no folder {path}; give a run's output, or a checkpoint of it")
    folder, run = path, _run_of(path)
    if run == path:
        folder = _result_of(path)
    kind = _kind_of(folder)
    check_weights(folder)
    is_checkpoint = folder.parent.name == "checkpoints" and folder.name.startswith("step-")
    facts = read_object(run / RUN_FACTS) if run else {}
    return Source(
        folder=folder,
        kind=kind,
        run=run,
        step=step_of(folder) if is_checkpoint else None,
        facts=facts | read_object(folder / FACTS),
    )


def check_weights(folder: Path) -> None:
    """Check that a folder's safetensors are all there and whole.

    :raises ModelError: a file is missing, cut short or no safetensors; the message names it.
    """
    from safetensors import SafetensorError, safe_open

    files = weight_files(folder)
    named = set(read_object(folder / INDEX).get("weight_map", {}).values())
    missing = sorted(named - {file.name for file in files})
    if missing or not files:
        what = missing[0] if missing else "safetensors weights"
        raise ModelError(f"{folder} lacks {what}: copy it again, or export another checkpoint")
    for file in files:
        try:
            with safe_open(file, framework="numpy") as weights:
                weights.keys()
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file} is damaged ({error}): copy it again, or export another checkpoint"
            ) from error


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object; nothing, where there is none.

    :raises ModelError: it is there and holds something else.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read; copy the folder again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} holds no object; copy the folder again")
    return content


def _run_of(path: Path) -> Path | None:
    """The run's folder that a path is, or lies in."""
    for folder in (path, *path.absolute().parents[:2]):
        if (folder / CONFIG).is_file() and (folder / RUN_FACTS).is_file():
            return folder
    return None


def _result_of(run: Path) -> Path:
    for name in dict.fromkeys(RESULTS.values()):
        if (run / name).is_dir():
            return run / name
    checkpoints = sorted((run / "checkpoints").glob("step-*"), key=step_of)
    if not checkpoints:
        raise ModelError(f"{run} holds no checkpoint yet; let `codeqa train` go on, then export")
    return checkpoints[-1]


def _kind_of(folder: Path) -> Literal["model", "adapter"]:
    if (folder / ADAPTER_CONFIG).is_file():
        return "adapter"
    if (folder / "config.json").is_file():
        return "model"
    raise ModelError(
        f"{folder} is no model, adapter or run: it has no config.json, {ADAPTER_CONFIG} or "
        f"{CONFIG}; check the path"
    )
