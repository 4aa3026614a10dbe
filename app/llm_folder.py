"""A Hugging Face folder or name as a loaded model.

Weights are read from safetensors only, and no code from the model's folder is run. A folder
never leads to the network; a name does, to download what the cache lacks.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.errors import LanguageModelError, reason_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from app.llm_local import LocalChatModel

# What is downloaded of a Hugging Face repository: no pickles, no code, nothing twice.
DOWNLOADED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
NOT_DOWNLOADED = ["*/*", "consolidated*"]
CPU_BF16_FEATURES = ("amx_bf16", "avx512_bf16", "bf16")  # x86, x86, ARM; names are PyTorch's


def load_folder(source: str, *, temperature: float, max_tokens: int) -> "LocalChatModel":
    """Load a model, or a PEFT adapter with its base model, onto the GPU if there is one.

    :param source: a folder, or a Hugging Face name.
    :param temperature: 0 is greedy.
    :param max_tokens: the longest answer, in tokens.
    :raises LanguageModelError: not a chat model in safetensors, or out of reach.
    """
    from app.llm_local import LocalChatModel

    folder = Path(source).expanduser()
    is_name = not source or not folder.exists()
    if is_name:
        folder = _download(source)
    base = _find_base(folder, may_download=is_name)
    _check_weights(base, "model*.safetensors")
    if folder != base:
        _check_weights(folder, "adapter_model.safetensors")
    try:
        # The tokenizer first: if it has no chat template, nobody waited for the weights.
        has_tokenizer = (folder / "tokenizer_config.json").is_file()
        tokenizer = _load_tokenizer(folder if has_tokenizer else base)
        model = _load_weights(folder, base)
    except LanguageModelError:
        raise
    except Exception as error:  # the boundary: transformers raises a dozen kinds
        raise LanguageModelError(
            f"{source} cannot be loaded: {reason_of(error)}: save it anew, or choose another model"
        ) from error
    _set_generation(model, tokenizer, temperature)
    name = source if is_name else folder.resolve().name
    return LocalChatModel(
        model_name=name, model=model, tokenizer=tokenizer, max_new_tokens=max_tokens
    )


def _download(name: str) -> Path:
    """The folder of a model of the Hugging Face hub, in its cache."""
    from huggingface_hub import snapshot_download

    # Not by transformers: without a network it tries for 46 seconds; this fails at once.
    try:
        return Path(
            snapshot_download(name, allow_patterns=DOWNLOADED, ignore_patterns=NOT_DOWNLOADED)
        )
    except Exception as error:  # the boundary: misspelt, private, offline, disk full
        shown = name.rpartition("@")[2]  # it may be a URL with a password, but misspelt
        raise LanguageModelError(
            f"{shown!r} is no folder here, and the Hugging Face hub does not offer it or cannot be "
            "reached: correct --llm, or download the model where there is a network"
        ) from error


def _find_base(folder: Path, *, may_download: bool) -> Path:
    """The folder itself, or for an adapter that of the model it adapts."""
    if (folder / "config.json").is_file():
        return folder
    try:
        name = json.loads((folder / "adapter_config.json").read_text("utf-8"))[
            "base_model_name_or_path"
        ]
        if Path(name).is_dir():
            return Path(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LanguageModelError(
            f"{folder} is not a model folder: it has no config.json and no adapter_config.json"
        ) from error
    if may_download:
        return _download(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception as error:  # the boundary: not in the cache, or no name at all
        raise LanguageModelError(
            f"{folder} adapts {name}, which is not on this machine: run `hf download {name}`"
        ) from error


def _check_weights(folder: Path, pattern: str) -> None:
    if not any(folder.glob(pattern)):
        raise LanguageModelError(
            f"{folder} has no {pattern}, and other weights are not loaded: save the model anew "
            "with `save_pretrained`"
        )


def _load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if not tokenizer.chat_template:
        raise LanguageModelError(
            f"the tokenizer in {folder} has no chat template: choose a model tuned for chat, or "
            "put its chat_template.jinja there"
        )
    return tokenizer


def _load_weights(folder: Path, base: Path) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    device_map, dtype = _choose_device()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        device_map=device_map,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    if base != folder:
        model.load_adapter(str(folder), use_safetensors=True)
    model.eval()
    return model


def _choose_device() -> "tuple[str | None, torch.dtype]":
    """The device map, None for the CPU, and the number format.

    A CPU that cannot multiply bfloat16 takes 4 to 8 times as long to read a prompt in it.
    """
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        features = torch.cpu.get_capabilities()
        has_bf16 = any(features.get(name) for name in CPU_BF16_FEATURES)
        return None, torch.bfloat16 if has_bf16 else torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "auto", torch.float16
    return "auto", torch.bfloat16


def _set_generation(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", temperature: float
) -> None:
    """Make the model generate as asked, and end where its chat template ends a turn."""
    config: Any = model.generation_config
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    config.eos_token_id = sorted({*ends, tokenizer.eos_token_id} - {None}) or None
    if config.pad_token_id is None:  # any will do: nothing is padded, but a warning is spared
        config.pad_token_id = config.eos_token_id and config.eos_token_id[0]
    config.num_beams, config.max_length = 1, None
    config.do_sample = temperature > 0
    if config.do_sample:
        config.temperature = temperature
    else:  # a checkpoint's defaults for sampling would only draw a warning
        config.temperature = config.top_p = config.top_k = config.min_p = None
