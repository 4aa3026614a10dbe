"""The model and tokenizer that a run trains: loaded, or made from nothing.

Weights are read from safetensors only and no code of a model's folder is run. All weights that are
trained are held in float32, whatever the precision of the arithmetic: updates are smaller than
what bfloat16 can tell apart.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.errors import ModelError, reason_of
from retrieval.embed import has_bfloat16
from training.config import Architecture, Model, TrainConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# What is downloaded of a Hugging Face repository: no pickles, no code, nothing twice.
DOWNLOADED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
NOT_DOWNLOADED = ["*/*", "consolidated*"]
INITIAL_DEVIATION = 0.02  # of random weights, as GPT-2 and Llama draw them


def find_model(name: str) -> Path:
    """Find a model's folder: a path, or a name on the Hugging Face hub, fetched if need be.

    :raises ModelError: there is no such folder or name, or no network.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no model folder {name}; check the path")
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, allow_patterns=DOWNLOADED, ignore_patterns=NOT_DOWNLOADED)
        )
    except Exception as error:  # the boundary: misspelt, private, offline, disk full
        raise ModelError(
            f"{name} is no folder here, and the Hugging Face hub does not offer it or cannot be "
            "reached; correct the name, or download the model where there is a network"
        ) from error


def load_tokenizer(model: Model) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model, or the other one that its configuration names.

    :raises ModelError: there is none, or it cannot be loaded.
    """
    from data_tools import tokenizer

    name = model.tokenizer or model.name
    if name is None:
        raise ValueError("a model without a name needs a tokenizer")
    return tokenizer.load_tokenizer(str(find_model(name)))


def load_model(config: TrainConfig, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """Load the model that a run trains all weights of, or make it; float32, on the CPU.

    :param tokenizer: its vocabulary is that of a new model; a model that is loaded must have room
        for every token of it.
    :raises ModelError: it cannot be loaded, or does not fit the tokenizer.
    """
    if config.model.architecture is not None:
        return _create(config.model.architecture, tokenizer, config.model.attention, config.seed)
    return read_model(config.model, tokenizer)


def read_model(
    model: Model, tokenizer: "PreTrainedTokenizerBase", **options: Any
) -> "PreTrainedModel":
    """Load a model's weights from its folder or from the hub.

    :param options: more for transformers' `from_pretrained`, such as `quantization_config`; the
        numbers are float32 unless `dtype` is given.
    :raises ModelError: it cannot be loaded, or does not fit the tokenizer.
    """
    from transformers import AutoModelForCausalLM

    if model.name is None:
        raise ValueError("a model that is loaded needs a name")
    folder = find_model(model.name)
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{model.name} is an adapter; merge it first with `codeqa export --merge`, and give "
            "the merged model"
        )
    if not any(folder.glob("model*.safetensors")):
        raise ModelError(
            f"{model.name} holds no safetensors weights, and others are not loaded; save the "
            "model anew with `save_pretrained`"
        )
    try:
        loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            **{"dtype": "float32", "attn_implementation": model.attention} | options,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except Exception as error:  # the boundary: transformers raises a dozen kinds
        raise ModelError(
            f"{model.name} cannot be loaded ({reason_of(error)}); give the folder of a causal "
            "language model"
        ) from error
    _check_vocabulary(loaded, tokenizer, model.name)
    loaded.config.use_cache = False
    return loaded


def calculates_in_bfloat16(config: TrainConfig) -> bool:
    """Tell whether a run multiplies in bfloat16: as configured, or where the hardware does."""
    if config.precision == "auto":
        return has_bfloat16(device_type())
    return config.precision == "bf16"


def device_type() -> str:
    """Return `cuda` where there is such a device and it is not put aside, else `cpu`."""
    import os

    import torch

    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def quiet_libraries() -> None:
    """Keep transformers, datasets and mosaicml-streaming from printing beside our progress."""
    import logging

    import datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    logging.getLogger("streaming").setLevel(logging.ERROR)
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _create(
    sizes: Architecture, tokenizer: "PreTrainedTokenizerBase", attention: str, seed: int
) -> "PreTrainedModel":
    """Make a Llama of these sizes, its weights drawn from `seed`."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_value_heads,
        max_position_embeddings=sizes.max_tokens,
        tie_word_embeddings=sizes.tie_embeddings,
        initializer_range=INITIAL_DEVIATION,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention, dtype=torch.float32
        )
    return model


def _check_vocabulary(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str
) -> None:
    rows = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    if len(tokenizer) > rows:
        raise ModelError(
            f"{name} knows {rows:,} tokens, and its tokenizer has {len(tokenizer):,}; give the "
            "tokenizer that the model was trained with"
        )
