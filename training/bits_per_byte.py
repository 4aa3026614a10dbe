"""How well a model predicts texts that it was not trained on: the surprise of every token.

A text that is longer than the model's context is read in windows that overlap by half, so that
every token is scored exactly once, and with at least half a context before it (but for the first
ones). Before the first token stands the tokenizer's beginning-of-text token, or its end-of-text
token where it has none, as lm-evaluation-harness does it; with neither, the first token counts as
drawn evenly from the vocabulary. A text's tokens are scored without any end-of-text token after
them. Texts are scored one by one: none sees another.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.metrics import Values
from training.model_metrics import fit_unigrams

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LONGEST_WINDOW_TOKENS = 2048  # longer contexts cost memory and predict little better
LOGIT_ROWS = 512  # turned to float32 probabilities at once: 300 MB for 150,000 tokens
BATCH_TOKENS = 8_192  # of one forward pass
BATCH_LOGITS = 1 << 28  # of the same: 1 GB in float32; one window is always read

Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True)
class TextScore:
    """How surprising a text is to a model.

    :param nats: sum of -ln p over the tokens.
    :param size_bytes: of what was scored, in UTF-8.
    """

    nats: float
    tokens: int
    size_bytes: int


@dataclass(frozen=True)
class Window:
    """Part of a sequence that is read at once; `scored` is the first position that is new.

    :param start: first position; `end` is exclusive.
    """

    start: int
    scored: int
    end: int


def cut_windows(length: int, size: int) -> list[Window]:
    """Cut a sequence into windows of at most `size` positions that overlap by half.

    The first position of all is not predicted, so it is not scored; every other one is scored by
    one window, the first that holds it.

    :raises ValueError: `size` is below 2.
    """
    if size < 2:
        raise ValueError("a window must hold at least two positions")
    windows, scored = [], 1
    while scored < length:
        start = 0 if scored == 1 else scored - size // 2
        end = min(start + size, length)
        windows.append(Window(start, scored, end))
        scored = end
    return windows


def score_texts(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    window_tokens: int,
) -> Iterator[TextScore]:
    """Score texts, none of them empty, in their order.

    :param model: in evaluation mode; scored on the device where it is.
    :param window_tokens: at most what the model's context takes.
    """
    for text in texts:
        tokens = tokenizer.encode(text, add_special_tokens=False, verbose=False)
        prefix = prefix_token(tokenizer)
        ids = tokens if prefix is None else [prefix, *tokens]
        nats = math.fsum(_score_windows(model, ids, window_tokens))
        if prefix is None:
            nats += math.log(len(tokenizer))
        yield TextScore(nats, len(tokens), len(text.encode("utf-8")))


def prefix_token(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return what stands before the first token of a text, None where there is no such token."""
    first: int | None = tokenizer.bos_token_id
    last: int | None = tokenizer.eos_token_id
    return last if first is None else first


def _score_windows(
    model: "PreTrainedModel", ids: Sequence[int], window_tokens: int
) -> Iterator[float]:
    """Yield the surprise of every position but the first, in nats."""
    import torch

    windows = cut_windows(len(ids), window_tokens)
    vocabulary = model.config.get_text_config().vocab_size
    rows = max(min(BATCH_TOKENS, BATCH_LOGITS // vocabulary) // window_tokens, 1)
    for at in range(0, len(windows), rows):
        batch = windows[at : at + rows]
        width = max(window.end - window.start for window in batch)
        inputs = torch.zeros((len(batch), width), dtype=torch.long)  # (windows, positions)
        for row, window in enumerate(batch):  # padded after its end, where nothing looks back at
            inputs[row, : window.end - window.start] = torch.tensor(ids[window.start : window.end])
        inputs = inputs.to(model.device)
        with torch.inference_mode():
            logits = model(input_ids=inputs, use_cache=False).logits  # (windows, positions, vocab)
        for row, window in enumerate(batch):
            first, last = window.scored - window.start, window.end - window.start
            predicted = logits[row, first - 1 : last - 1]
            yield from _surprise(predicted, inputs[row, first:last])


def _surprise(logits: "torch.Tensor", targets: "torch.Tensor") -> Iterator[float]:
    """Yield -ln p of each target; logits of shape (positions, vocabulary)."""
    import torch

    for at in range(0, len(targets), LOGIT_ROWS):
        part = logits[at : at + LOGIT_ROWS].float()
        nats = torch.nn.functional.cross_entropy(
            part, targets[at : at + LOGIT_ROWS], reduction="none"
        )
        yield from nats.tolist()


class UnigramModel:
    """Knows how frequent each token of a training text is, and nothing else: what to beat."""

    def __init__(self, tokenize: Tokenize, vocabulary: int, texts: Iterable[str]) -> None:
        """Count the tokens of training texts."""
        counts = np.zeros(vocabulary, np.int64)
        for text in texts:
            counts += np.bincount(np.array(tokenize(text), np.int64), minlength=vocabulary)
        self._tokenize = tokenize
        self._log_shares: Values = fit_unigrams(counts)

    def score(self, text: str) -> TextScore:
        """Score one text."""
        ids = self._tokenize(text)
        nats = -float(self._log_shares[ids].sum())
        return TextScore(nats, len(ids), len(text.encode("utf-8")))
