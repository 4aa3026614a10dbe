"""How fast a run is: tokens a second, and the share of what the hardware could do (MFU).

Model FLOPs count what the mathematics needs, not what is done: recomputed activations are not
counted. The denominator is the card's dense bfloat16 peak from its data sheet; for a processor or
an unknown card, which have none to look up, the speed of a large matrix product measured here.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Dense bfloat16 FLOP/s by words of the card's name, the longer ones first where two fit.
# Source: the makers' data sheets (without sparsity).
PEAK_FLOPS = {
    "B300": 2250e12,
    "B200": 2250e12,
    "GH200": 989e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "A40": 149.7e12,
    "A30": 165e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 6000 Ada": 364e12,
    "RTX A6000": 154.8e12,
    "RTX 5090": 209.5e12,
    "RTX 4090": 165.2e12,
    "RTX 4080": 97.5e12,
    "RTX 3090": 71e12,
}
MATRIX_SIZE = {"cpu": 1024, "cuda": 8192}  # of the products that are timed
MEASURED_PRODUCTS = 8
WINDOW_STEPS = 20  # over which speed is averaged


@dataclass(frozen=True)
class Speed:
    """How fast the last steps were.

    :param mfu: model FLOP/s over the peak of all devices; None where that is not known.
    :param step_s: seconds a step.
    """

    tokens_per_s: float
    mfu: float | None
    step_s: float


class SpeedMeter:
    """Averages over the last steps; what lies between two steps can be left out.

    :param flops_per_token: of the model, forward and backward.
    :param peak_flops: of all devices together; None where it is not known.
    """

    def __init__(self, flops_per_token: float, peak_flops: float | None) -> None:
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._steps: deque[tuple[float, int]] = deque(maxlen=WINDOW_STEPS)
        self._mark = time.perf_counter()

    def resume(self) -> None:
        """Leave out the time since the last step: evaluation, saving."""
        self._mark = time.perf_counter()

    def add_step(self, tokens: int) -> Speed:
        """Count a step that has just ended."""
        now = time.perf_counter()
        self._steps.append((now - self._mark, tokens))
        self._mark = now
        seconds = max(sum(each for each, _ in self._steps), 1e-9)
        tokens_per_s = sum(each for _, each in self._steps) / seconds
        mfu = None
        if self._peak_flops:
            mfu = tokens_per_s * self._flops_per_token / self._peak_flops
        return Speed(tokens_per_s, mfu, seconds / len(self._steps))


def flops_per_token(model: "PreTrainedModel", tokens: int) -> float:
    """Count the FLOPs that a model needs to learn from one token.

    Every weight that is multiplied costs 2 forward and 2 backward for its input, and 2 more for
    its own gradient if it is trained; attention costs 12 · layers · width · `tokens`. The table of
    token embeddings is looked up, not multiplied, unless it is the output layer too.

    :param tokens: length of the sequences.

    Source: Chowdhery et al., PaLM, arXiv:2204.02311, appendix B (attention not halved for
    causality), with frozen weights counted without their gradient.
    """
    looked_up = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    is_tied = head is not None and head.weight is looked_up
    trained = frozen = 0
    for parameter in model.parameters():
        if parameter is looked_up and not is_tied:
            continue
        count = parameter_count(parameter)
        if parameter.requires_grad:
            trained += count
        else:
            frozen += count
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    attention = 12 * config.num_hidden_layers * heads * head_size * tokens
    return float(6 * trained + 4 * frozen + attention)


def parameter_count(parameter: "torch.Tensor") -> int:
    """How many weights a tensor holds; two in a byte where bitsandbytes packed it to 4 bits."""
    state = getattr(parameter, "quant_state", None)
    if state is not None and getattr(state, "shape", None):
        return int(state.shape.numel())
    return parameter.numel()


def peak_flops(device: str, *, bfloat16: bool) -> float:
    """Return the peak of one device, in FLOP/s: looked up by its name, else measured."""
    import torch

    if device == "cuda" and bfloat16:
        words = set(torch.cuda.get_device_name().replace("-", " ").split())
        for part, peak in PEAK_FLOPS.items():
            if words.issuperset(part.split()):
                return peak
    return _measure_products(device, bfloat16=bfloat16)


def device_name(device: str) -> str:
    """Name the card or the processor."""
    import platform

    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    cores = torch.get_num_threads()
    return f"{platform.processor() or platform.machine()}, {cores} threads"


def memory_mb(device: str) -> float:
    """Return the most memory this process has held: of the card, or of the machine; in MB."""
    import resource
    import sys

    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _measure_products(device: str, *, bfloat16: bool) -> float:
    """Time a large matrix product; the fastest of some."""
    import torch

    size = MATRIX_SIZE[device]
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    left = torch.ones(size, size, device=device, dtype=dtype)
    fastest = float("inf")
    for _ in range(MEASURED_PRODUCTS):
        start = time.perf_counter()
        left @ left
        if device == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * size**3 / fastest
