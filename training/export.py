"""A run's model or adapter as a Hugging Face folder that any library loads: whole or absent.

Weights as safetensors, the tokenizer with its chat template, where generation ends, `codeqa.json`
with what it is and came from, and a model card. An adapter is kept as it is or merged into its
base. Nothing that is there is overwritten.
"""

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.drafts import whole_folder
from data_tools.errors import ModelError
from data_tools.storage import storage_errors
from data_tools.tokenizer import tokenizer_hash
from training.export_card import write_card
from training.export_source import INDEX, Source, check_weights, find_source, read_object
from training.hashes import model_hash, template_hash, weight_files
from training.lora import ADAPTER_CONFIG, FACTS, check_base
from training.merge import merge_adapter
from training.model import find_model, quiet_libraries

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GENERATION = "generation_config.json"
SHARD_SIZE = "5GB"  # of a merged model's files
_TOKENIZER_FILES = (
    "tokenizer*",
    "*.jinja",
    "additional_chat_templates/*",
    "vocab.*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
)


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    :param base: of an adapter, merged or not: its folder or name.
    :param max_logit_difference: between merged and adapter, in float32; None if not merged.
    :param size_bytes: of all files.
    """

    folder: str
    kind: str
    source: str
    step: int | None
    merged: bool
    base: str | None
    dtype: str
    weights_hash: str
    template_hash: str | None
    tokenizer_hash: str
    max_logit_difference: float | None
    size_bytes: int


def export_model(
    path: Path, out: Path, *, merge: bool = False, base: str | None = None
) -> ExportReport:
    """Export a run, a checkpoint, a model or an adapter.

    :param path: of a run the result is taken, before it has one its newest checkpoint.
    :param out: a new folder.
    :param merge: put an adapter into its base.
    :param base: the base's folder or name, where it is not the one that the adapter names.
    :raises ModelError: nothing to export, damaged weights, a base that is missing or another one,
        or `out` is there already.
    :raises StorageError: the disk is full or not writable.
    """
    quiet_libraries()
    source = find_source(path)
    if merge and source.kind == "model":
        raise ModelError(f"{source.folder} is a whole model already; leave out --merge")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out} is there already; choose another folder, or remove it")
    base_name, base_folder = _find_base(source, base, is_needed=merge)
    with whole_folder(out, FACTS) as draft, storage_errors(out):
        tokenizer = _copy_tokenizer(source.folder, base_folder, draft)
        difference = None
        if merge and base_folder:
            merged = merge_adapter(source.folder, base_folder, tokenizer)
            difference = merged.max_difference
            _save(merged.model, draft)
        else:
            _copy_weights(source, draft)
        if merge or source.kind == "model":
            _write_generation(source.folder, base_folder, draft, tokenizer)
        report = ExportReport(
            folder=str(out),
            kind="model" if merge else source.kind,
            source=str(source.folder),
            step=source.step,
            merged=merge,
            base=base_name,
            dtype=_dtype(draft),
            weights_hash=model_hash(draft),
            template_hash=template_hash(tokenizer),
            tokenizer_hash=tokenizer_hash(tokenizer),
            max_logit_difference=difference,
            size_bytes=sum(file.stat().st_size for file in draft.rglob("*")),
        )
        facts = _facts(source, report, base_folder)
        (draft / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
        write_card(draft, out.resolve().name, source, facts)
    return report


def _find_base(
    source: Source, given: str | None, *, is_needed: bool
) -> tuple[str | None, Path | None]:
    """The base of an adapter: its name, and its folder if it is needed or here."""
    if source.kind == "model":
        return source.facts.get("base"), None
    noted = read_object(source.folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    names = [given] if given else [name for name in (source.facts.get("base"), noted) if name]
    if not names:
        raise ModelError(f"{source.folder} does not say what it adapts; give that as --base")
    # A path may be relative to where the run was started, and peft's is not.
    name = next((each for each in names if Path(each).expanduser().is_dir()), names[0])
    folder = Path(name).expanduser()
    if not folder.is_dir() and not (is_needed or given):
        return name, None
    try:
        folder = find_model(name)
    except ModelError as error:
        raise ModelError(f"{error}; or give the base's folder as --base") from error
    if (source.folder / FACTS).is_file():
        check_base(source.folder, folder)
    check_weights(folder)
    return name, folder


def _copy_tokenizer(folder: Path, base: Path | None, draft: Path) -> "PreTrainedTokenizerBase":
    """Copy the tokenizer that the model was trained with, and load it."""
    from transformers import AutoTokenizer

    holder = folder if (folder / "tokenizer_config.json").is_file() or base is None else base
    for pattern in _TOKENIZER_FILES:
        for file in holder.glob(pattern):
            if file.is_file():
                place = draft / file.relative_to(holder)
                place.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, place)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            holder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the boundary: transformers raises a dozen kinds
        raise ModelError(f"{holder} holds no tokenizer; copy the folder again") from error
    return tokenizer


def _save(model: "PreTrainedModel", draft: Path) -> None:
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()  # transformers refuses to write some bases' own
    model.save_pretrained(draft, max_shard_size=SHARD_SIZE)


def _copy_weights(source: Source, draft: Path) -> None:
    names = ["config.json"] if source.kind == "model" else [ADAPTER_CONFIG]
    files = [source.folder / name for name in (*names, INDEX)]
    for file in [*files, *weight_files(source.folder)]:
        if file.is_file():
            shutil.copyfile(file, draft / file.name)


def _write_generation(
    folder: Path, base: Path | None, draft: Path, tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Write how the model generates: as its base, and ending where its chat template ends."""
    settings = next(
        filter(None, (read_object(place / GENERATION) for place in (folder, base) if place)), {}
    )
    known = settings.get("eos_token_id")
    ends = {*(known if isinstance(known, list) else [known]), tokenizer.eos_token_id} - {None}
    if ends:
        settings["eos_token_id"] = sorted(ends) if len(ends) > 1 else ends.pop()
    if settings.get("pad_token_id") is None and tokenizer.pad_token_id is not None:
        settings["pad_token_id"] = tokenizer.pad_token_id
    (draft / GENERATION).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def _dtype(folder: Path) -> str:
    """What the weights are stored in, by the first of them."""
    from safetensors import safe_open

    with safe_open(weight_files(folder)[0], framework="pt") as weights:
        return str(weights.get_slice(next(iter(weights.keys()))).get_dtype())


def _facts(source: Source, report: ExportReport, base: Path | None) -> dict[str, Any]:
    facts = dict(source.facts)
    if report.base:
        facts["base"] = report.base
    if base and "base_sha256" not in facts:
        facts["base_sha256"] = model_hash(base)
    return facts | {
        "kind": report.kind,
        "merged": report.merged,
        "step": report.step,
        "dtype": report.dtype,
        "weights_sha256": report.weights_hash,
        "template_sha256": report.template_hash,
        "tokenizer_sha256": report.tokenizer_hash,
        "max_logit_difference": report.max_logit_difference,
        "exported_by": version("codeqa"),
    }
