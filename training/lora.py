"""Low-rank adapters: a model is frozen, and small matrices beside its layers are trained.

With QLoRA the frozen weights are held in 4 bits (NF4, doubly quantised; Dettmers et al.,
arXiv:2305.14314); the adapter is in float32 either way, since updates are smaller than what
bfloat16 can tell apart. An adapter names its base and the hash of the base's weights; onto other
weights it is not put.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.errors import ModelError
from training.config import Lora, TrainConfig
from training.hashes import model_hash
from training.model import calculates_in_bfloat16, device_type, read_model

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER_CONFIG = "adapter_config.json"  # peft's
FACTS = "codeqa.json"  # ours, in every model's and adapter's folder
SHORT_HASH = 12  # hex digits of a hash in a message


def load_with_adapter(config: TrainConfig, tokenizer: "PreTrainedTokenizerBase") -> "PeftModel":
    """Load the base of a LoRA or QLoRA run, frozen, with a new adapter on it.

    The adapter's weights are drawn from the run's seed; at first it changes nothing.

    :raises ModelError: the base cannot be loaded or quantised, or has no layers of these names.
    """
    import torch

    dtype = torch.bfloat16 if calculates_in_bfloat16(config) else torch.float32
    options: dict[str, Any] = {"dtype": dtype}
    if config.model.method == "qlora":
        options["quantization_config"] = quantization(dtype)
        # Quantised weights stay where they are loaded: on the card of this process.
        own_card = int(os.environ.get("LOCAL_RANK", "0"))
        options["device_map"] = {"": own_card if device_type() == "cuda" else "cpu"}
    base = read_model(config.model, tokenizer, **options)
    if config.model.method == "qlora":
        keep_differentiable(base)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return add_adapter(base, config.model.lora, str(config.model.name))


def quantization(compute_dtype: "torch.dtype") -> Any:  # noqa: ANN401 - transformers' own
    """Describe weights of 4 bits: NF4, its scales quantised once more.

    :param compute_dtype: what a layer's weights are unpacked to, to multiply with them.
    :raises ModelError: bitsandbytes is not installed.
    """
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise ModelError(
            "`method: qlora` needs bitsandbytes; run `make qlora`, or use `method: lora`"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def keep_differentiable(model: "PreTrainedModel") -> None:
    """Keep bitsandbytes from laying weights out anew when a model is evaluated on a processor.

    In that layout, which it never takes back, no gradient passes through a layer: what is trained
    after an evaluation would learn from the last layers alone.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def add_adapter(base: "PreTrainedModel", lora: Lora, base_name: str) -> "PeftModel":
    """Freeze a model and put a new adapter on it.

    :param base_name: what the adapter calls its base: a folder or a hub name.
    :raises ModelError: the model has no layers of the names in `lora.targets`.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(base, settings)
    except ValueError as error:  # peft's, for names that are no layers
        raise ModelError(
            f"no adapter fits {base_name} ({str(error).partition('. ')[0]}); set "
            "`model.lora.targets` to names of its layers, or to `all-linear`"
        ) from error
    if not isinstance(model, PeftModel):
        raise TypeError(f"peft made a {type(model).__name__}")
    folder = Path(base_name).expanduser()
    # Not the folder of a cache that a hub name was found in, which says nothing elsewhere.
    settings.base_model_name_or_path = str(folder.resolve()) if folder.is_dir() else base_name
    keep_adapter_precise(model)
    return model


def keep_adapter_precise(model: "torch.nn.Module") -> None:
    """Hold trained weights in float32; TRL turns a quantised model's adapter into bfloat16."""
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def check_base(adapter: Path, base: Path) -> None:
    """Refuse an adapter that was trained on other weights than those of `base`.

    :raises ModelError: it is no adapter, its base is not noted, or it is another one.
    """
    if not (adapter / ADAPTER_CONFIG).is_file():
        raise ModelError(f"{adapter} is no adapter: it has no {ADAPTER_CONFIG}; check the folder")
    try:
        facts = json.loads((adapter / FACTS).read_text("utf-8"))
        name, expected = str(facts["base"]), str(facts["base_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{adapter} does not say which weights it was trained on: {FACTS} is missing or "
            "damaged; train it again with `codeqa train`"
        ) from error
    found = model_hash(base)
    if found != expected:
        raise ModelError(
            f"{adapter} was trained on {name} (weights {expected[:SHORT_HASH]}…), and {base} has "
            f"other weights ({found[:SHORT_HASH]}…); give the base that it was trained on"
        )
