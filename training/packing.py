"""Several pairs in one training sequence, none of them seeing another.

Short pairs waste a batch on padding; packed, they fill it. Positions start again with each pair,
and transformers makes a block-diagonal mask from that. Not every attention implementation and not
every model honours it, so `sees_neighbours` asks the model itself: where a pair sees another,
pairs are not packed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from training.completions import IGNORED, Example

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedModel

FLASH = "flash"  # in the names of implementations that take packed pairs as one row only
PROBE_TOKENS = 12


def make_dataset(examples: Sequence[Example], *, pack_tokens: int | None) -> "datasets.Dataset":
    """Put examples into a dataset, packed where `pack_tokens` is given.

    :param pack_tokens: length of a packed sequence, in tokens; no example is longer.
    :return: columns `input_ids`, `labels`, and packed `seq_lengths`, the pairs' in each sequence.
    """
    from datasets import Dataset, Features, Sequence, Value
    from datasets.utils.logging import disable_progress_bar
    from trl.data_utils import pack_dataset

    disable_progress_bar()
    tokens = Sequence(Value("int32"))
    dataset = Dataset.from_dict(
        {
            "input_ids": [np.asarray(example.input_ids) for example in examples],
            "labels": [np.asarray(example.labels) for example in examples],
        },
        features=Features({"input_ids": tokens, "labels": tokens}),
    )
    if pack_tokens is None:
        return dataset
    # Best-fit decreasing (Ding et al., arXiv:2404.10830): whole pairs, the fewest sequences.
    return pack_dataset(dataset, pack_tokens, strategy="bfd")


def make_collator(pad_token_id: int, *, packed: bool) -> Any:  # noqa: ANN401 - untyped in TRL
    """Make what batches examples: rows padded, with a mask, or packed, with positions instead."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    class PackedRows(DataCollatorForLanguageModeling):
        """Rows of packed pairs: `input_ids`, `labels` and `position_ids`, all (n_rows, n_tokens).

        TRL's own way is one row as long as all together, which cannot be cut into microbatches,
        and whose mask grows with the square of the number of rows.
        """

        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            del batch["attention_mask"]  # with one, transformers would not read the positions
            batch["labels"][batch["position_ids"] == 0] = IGNORED  # no pair begins another
            return batch

    if packed:
        return PackedRows(pad_token_id, return_position_ids=True)
    return DataCollatorForLanguageModeling(pad_token_id)


def as_one_row(batch: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Put packed rows one after the other, as flash kernels take them.

    :param batch: tensors of shape (n_rows, n_tokens).
    :return: the same of shape (1, n_rows · n_tokens).
    """
    return {name: tensor.reshape(1, -1) for name, tensor in batch.items()}


def sees_neighbours(model: "PreTrainedModel") -> bool:
    """Say whether a packed pair's outputs change with the pair that stands before it.

    The model is asked twice, with two different first pairs; the second pair's logits must be
    equal to the bit, since what is masked adds nothing to them.
    """
    import torch

    embeddings = model.get_input_embeddings().weight
    if not isinstance(embeddings, torch.Tensor):
        raise TypeError(f"{type(model).__name__} has no matrix of embeddings")
    vocabulary = embeddings.shape[0]
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(vocabulary, (2, PROBE_TOKENS), generator=generator)
    second = torch.randint(vocabulary, (PROBE_TOKENS,), generator=generator)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        outputs = [
            _second_of(model, torch.cat([tokens, second]).to(embeddings.device)) for tokens in first
        ]
    model.train(was_training)
    return not torch.equal(*outputs)


def _second_of(model: "PreTrainedModel", tokens: "torch.Tensor") -> "torch.Tensor":
    """Run two pairs in one row; return the second's logits, shape (PROBE_TOKENS, n_vocabulary)."""
    import torch

    positions = torch.arange(PROBE_TOKENS, device=tokens.device).repeat(2)
    output = model(input_ids=tokens[None], position_ids=positions[None], use_cache=False)
    logits: torch.Tensor = output.logits[0, PROBE_TOKENS:]
    return logits
