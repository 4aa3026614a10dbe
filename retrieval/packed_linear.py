"""Linear layers whose weights lie as the processor multiplies them, for bfloat16 on a CPU.

oneDNN wants bfloat16 weights interleaved. PyTorch interleaves them again at every call, which for
a single question takes longer than the multiplication; here it is done once. The two operators
are those that `torch.compile` emits; where a PyTorch lacks them, layers stay as they are.
"""

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """Computes what an `nn.Linear` does; not for training."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, features: Tensor) -> Tensor:
        """Multiply; shape (…, n_in) to (…, n_out)."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            features, self.weight, self.bias, "none", [], ""
        )
        return product


def pack_linears(model: nn.Module) -> None:
    """Replace the bfloat16 linear layers of `model`, in place."""
    operators = torch.ops.mkldnn
    if not all(hasattr(operators, n) for n in ("_reorder_linear_weight", "_linear_pointwise")):
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child.weight.dtype is torch.bfloat16:
                setattr(parent, name, PackedLinear(child))
