"""Conversations as tokens, with a label for each token that the model is to learn to say.

What is learnt is what serving asks for: the prompt's tokens are those of the chat template with its
generation prompt, exactly as a server sends them, and the labels are the answer and the token that
ends it. Labels are set by where a token stands, never by comparing ids, so the end of an answer is
learnt even where the padding token is the same one. Nothing is truncated: what is too long is left
out, and counted.
"""

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_tools.errors import ModelError
from retrieval.prompt import Message
from training.templates import Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label that torch's losses pass over

# For a base model without a chat template: needs no token but the one that ends a text.
PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{{ '### ' + message['role'].capitalize() + '\\n' + message['content'] }}"
    "{{ eos_token + '\\n' if message['role'] == 'assistant' else '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Example:
    """One training sequence, in 8 bytes a token.

    :param input_ids: shape (n_tokens,).
    :param labels: shape (n_tokens,); the token's id where it is learnt, else -100.
    """

    input_ids: "array[int]"
    labels: "array[int]"


@dataclass(frozen=True)
class Examples:
    """What conversations became.

    :param kept: no longer than was asked.
    :param too_long: how many sequences were left out for their length.
    :param unsayable: conversations whose answers hold a special token as text, such as the one
        that ends an answer: learnt, it would end answers in their midst.
    :param shortest: tokens of the shortest sequence of all; 0 if there is none.
    """

    kept: list[Example]
    too_long: int
    unsayable: int
    shortest: int

    @property
    def tokens(self) -> int:
        """How many tokens there are, learnt or not."""
        return sum(len(example.input_ids) for example in self.kept)


def ensure_template(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Give a tokenizer without a chat template a plain one; say whether it was needed.

    :raises ModelError: it has no token that ends a text, so an answer could not end.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer {tokenizer.name_or_path} has no end token, so the model could never "
            "learn to stop; set `eos_token` in its tokenizer_config.json"
        )
    if tokenizer.chat_template:
        return False
    tokenizer.chat_template = PLAIN_TEMPLATE
    return True


def make_examples(
    conversations: Iterable[Conversation], tokenizer: "PreTrainedTokenizerBase", max_tokens: int
) -> Examples:
    """Turn conversations into training sequences.

    :raises ModelError: the chat template refuses a conversation, changes it, or does not end an
        answer.
    """
    kept: list[Example] = []
    lengths = []
    unsayable = 0
    for conversation in conversations:
        if _holds_special(conversation, tokenizer):
            unsayable += 1
            continue
        for example in tokenize(conversation, tokenizer):
            lengths.append(len(example.input_ids))
            if lengths[-1] <= max_tokens:
                kept.append(example)
    return Examples(kept, len(lengths) - len(kept), unsayable, min(lengths, default=0))


def _holds_special(conversation: Conversation, tokenizer: "PreTrainedTokenizerBase") -> bool:
    return any(
        token in message["content"]
        for message in conversation.messages[conversation.prompt_messages :]
        if message["role"] == "assistant"
        for token in tokenizer.all_special_tokens
    )


def tokenize(conversation: Conversation, tokenizer: "PreTrainedTokenizerBase") -> list[Example]:
    """Turn one conversation into sequences: one, if the chat template lets it grow.

    Some templates rewrite earlier turns when a new one comes (Qwen3 drops their reasoning). Then
    each answer gets a sequence of its own, as serving would see it.
    """
    sequences: list[tuple[list[int], list[int]]] = []
    for turn, message in enumerate(conversation.messages):
        if message["role"] != "assistant" or turn < conversation.prompt_messages:
            continue
        prompt_ids, answer_ids = _tokenize_turn(conversation.messages[: turn + 1], tokenizer)
        labels = [IGNORED] * len(prompt_ids)
        if sequences and prompt_ids[: len(sequences[-1][0])] == sequences[-1][0]:
            _, said = sequences.pop()
            labels[: len(said)] = said
        sequences.append((prompt_ids + answer_ids, labels + answer_ids))
    return [Example(array("i", ids), array("i", labels)) for ids, labels in sequences]


def _tokenize_turn(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[int], list[int]]:
    """Tokenize what is sent to the model, and apart from it what the model is to say."""
    prompt = render(messages[:-1], tokenizer, add_generation_prompt=True)
    whole = render(messages, tokenizer)
    common = len(os.path.commonprefix([prompt, whole]))
    # A template may close an empty block of reasoning in the prompt alone; the question stays.
    asked = messages[-2]["content"].strip() if len(messages) > 1 else ""
    if common < prompt.rfind(asked) + len(asked) or messages[-1]["content"].strip() not in whole:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} rewrites the question or the answer, "
            "so what is learnt would not be what is served; choose a model with a plainer template"
        )
    answer_ids = encode(whole[common:], tokenizer)
    special = set(tokenizer.all_special_ids)
    ends = [at for at, token in enumerate(answer_ids) if token in special]
    if not ends:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} ends an answer with no end token, so "
            "the model could never learn to stop; add `{{ eos_token }}` to it after the "
            "assistant's message"
        )
    return encode(prompt, tokenizer), answer_ids[: ends[-1] + 1]


def render(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    add_generation_prompt: bool = False,
) -> str:
    """Write messages with the tokenizer's chat template, as serving does.

    :raises ModelError: the template refuses them, as some do system messages.
    """
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": message["role"], "content": message["content"]} for message in messages],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                enable_thinking=False,  # as in serving; other templates than Qwen3's ignore it
            )
        )
    except TemplateError as error:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} refuses a conversation ({error}); "
            "choose a model that takes its roles, such as system messages"
        ) from error


def encode(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Tokenize rendered text: the template has put all special tokens in already."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def end_tokens(examples: Sequence[Example]) -> set[int]:
    """List the tokens that end answers; generation has to stop at each."""
    return {example.input_ids[-1] for example in examples}
