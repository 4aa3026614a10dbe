"""What an evaluation asks of a model, wherever it runs: answers to prompts, and scores of texts.

A model in this process is `training.local_model`, one behind an OpenAI-compatible server is
`training.served_model`. Both decode greedily: the same model gives the same answers.
"""

import re
from collections.abc import Sequence
from typing import Protocol

from retrieval.prompt import Message
from training.bits_per_byte import TextScore

Prompt = Sequence[Message]

_THINKING = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)


class AnsweringModel(Protocol):
    """A model that is asked in batches.

    :ivar name: what it is called in the result.
    :ivar fingerprint: what its answers hang on besides the prompt: its weights, its template.
    :ivar is_identified: whether the fingerprint tells the weights, so that what was answered once
        holds for good; a server may serve other weights under the same name tomorrow.
    :ivar context_tokens: the most a prompt and its answer may have; None if not known.
    :ivar window: how much of a text is read at once: tokens, of a server characters.
    """

    name: str
    fingerprint: str
    is_identified: bool
    context_tokens: int | None
    window: int

    def plan(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Divide prompts into batches, as their numbers; every prompt is in one batch."""
        ...

    def answer(self, prompts: Sequence[Prompt]) -> list[str | None]:
        """Answer one batch; None for a prompt that is longer than the context.

        :raises CodeQAError: the model fails.
        """
        ...

    def score(self, texts: Sequence[str]) -> list[TextScore] | None:
        """Score texts, none of them empty; None if this model tells no probabilities.

        :raises CodeQAError: the model fails.
        """
        ...

    def close(self) -> None:
        """Give back the memory; a model that is used again is loaded again."""
        ...


def clean_answer(text: str) -> str:
    """Leave out the thinking that some models begin with, and white space around the answer."""
    return _THINKING.sub("", text).strip()
