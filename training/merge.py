"""An adapter put into its base's weights for good, and the proof that nothing else changed.

A merged model answers as the base with the adapter does, only faster, and is served like any
model. The sum is made in float32: 4-bit weights would round the adapter away, so a base that
is held in 4 bits is refused, and an adapter trained by QLoRA goes into the full base.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.errors import ModelError, reason_of
from training.export_source import read_object

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_DIFFERENCE = 1e-4  # of two logits, in float32; rounding alone stays below
PROBE_TOKENS = 128
PROBE = '''\
def read_lines(path: str, limit: int = 100) -> list[str]:
    """Read the first lines of a file; Zeilen ohne Umbruch am Ende."""
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\\n") for _, line in zip(range(limit), file)]


Question: which function reads a file, and how many lines does it return at most?
Answer: `read_lines` does, and returns 100 lines at most [1].
'''


@dataclass(frozen=True)
class Merged:
    """A merged model.

    :param model: in the numbers that the base is stored in.
    :param max_difference: largest absolute difference of a logit on the probe, between the base
        with the adapter and the merged model, both in float32.
    """

    model: "PreTrainedModel"
    max_difference: float


def merge_adapter(adapter: Path, base: Path, tokenizer: "PreTrainedTokenizerBase") -> Merged:
    """Merge an adapter into its base, in memory: 4 bytes a weight, and what the model needs.

    :raises ModelError: the base is quantised, the adapter does not fit it, or the merged model
        does not answer as the two do.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if read_object(base / "config.json").get("quantization_config"):
        raise ModelError(
            f"{base} holds quantised weights, and an adapter is never merged into those; give the "
            "full model it was made from as --base"
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        adapted = PeftModel.from_pretrained(model, str(adapter), is_trainable=False).eval()
    except Exception as error:  # the boundary: transformers and peft raise a dozen kinds
        raise ModelError(
            f"the adapter {adapter} cannot be put on {base} ({reason_of(error)}); give the base "
            "that it was trained on as --base"
        ) from error
    expected = probe_logits(adapted, tokenizer)
    try:
        merged: Any = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:  # peft's, for numbers that are none
        raise ModelError(f"{adapter} holds numbers that are none; export another one") from error
    difference = float((probe_logits(merged, tokenizer) - expected).abs().max())
    if not difference <= MAX_DIFFERENCE:
        raise ModelError(
            f"merging {adapter} changed a logit by {difference:.1e}, more than "
            f"{MAX_DIFFERENCE:g}; export it without --merge, and serve it as an adapter"
        )
    return Merged(merged.to(stored_dtype(base)), difference)


def probe_logits(model: Any, tokenizer: "PreTrainedTokenizerBase") -> "torch.Tensor":  # noqa: ANN401
    """Run a model on the probe text.

    :return: shape (1, n_tokens, n_vocabulary).
    """
    import torch

    tokens = tokenizer(PROBE, add_special_tokens=False)["input_ids"][:PROBE_TOKENS]
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([tokens])).logits
    return logits.float()


def stored_dtype(folder: Path) -> "torch.dtype":
    """The numbers that a model's weights are stored in, as its configuration says."""
    import torch

    config = read_object(folder / "config.json")
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(str(name), torch.float32)
