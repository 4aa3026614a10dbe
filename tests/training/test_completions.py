"""Exactly the answers and their ends are learnt, in the tokens that serving sends."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from data_tools.errors import ModelError
from retrieval.prompt import Message
from tests.data_tools.corpora import tiny_tokenizer
from tests.tiny_model import CHAT_TEMPLATE, make_tiny_model
from training.completions import (
    IGNORED,
    PLAIN_TEMPLATE,
    Example,
    end_tokens,
    ensure_template,
    make_examples,
    tokenize,
)
from training.templates import Conversation

# As Qwen3's: the prompt closes an empty block of reasoning, and earlier turns lose theirs.
REASONING_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and loop.last %}"
    "{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}"
    "{{ message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def tokenizer(model_folder: Path) -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model_folder)
    return loaded


def talk(*texts: str, prompt_messages: int = 0) -> Conversation:
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[at % 2], content=text) for at, text in enumerate(texts))
    return Conversation(messages, prompt_messages)


def learnt(example: Example, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode([label for label in example.labels if label != IGNORED]))


def test_the_answer_and_its_end_are_learnt_and_the_prompt_is_not(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    (example,) = tokenize(talk("Hi", "Yo"), tokenizer)
    prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer("Yo<|im_end|>", add_special_tokens=False)["input_ids"]
    assert example.input_ids.tolist() == prompt_ids + answer_ids
    assert example.labels.tolist() == [IGNORED] * len(prompt_ids) + answer_ids
    assert example.labels[-1] == tokenizer.eos_token_id
    assert end_tokens([example]) == {tokenizer.eos_token_id}


def test_every_answer_of_a_conversation_is_learnt_in_one_sequence(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    (example,) = tokenize(talk("Q", "A", "Q2", "A2"), tokenizer)
    assert learnt(example, tokenizer) == "A<|im_end|>A2<|im_end|>"
    (last,) = tokenize(talk("Q", "A", "Q2", "A2", prompt_messages=3), tokenizer)
    assert last.input_ids == example.input_ids
    assert learnt(last, tokenizer) == "A2<|im_end|>"


def test_where_a_template_rewrites_earlier_turns_each_answer_has_its_own_sequence(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    tokenizer.chat_template = REASONING_TEMPLATE
    first, second = tokenize(talk("Q", "A", "Q2", "A2"), tokenizer)
    assert learnt(first, tokenizer) == "A<|im_end|>"
    assert learnt(second, tokenizer) == "A2<|im_end|>"
    assert "A<|im_end|>" in tokenizer.decode(list(second.input_ids))
    # What serving sends, to the letter: the empty block of reasoning is the prompt's.
    assert tokenizer.decode(list(first.input_ids)) == (
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nA<|im_end|>"
    )


def test_a_prompt_that_is_closed_in_serving_alone_is_learnt_from_as_served(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    closes_only_prompts = REASONING_TEMPLATE.replace("and loop.last", "and false")
    tokenizer.chat_template = closes_only_prompts
    (example,) = tokenize(talk("Q", "A"), tokenizer)
    assert learnt(example, tokenizer) == "A<|im_end|>"
    assert "</think>\n\nA<|im_end|>" in tokenizer.decode(list(example.input_ids))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (CHAT_TEMPLATE.replace("<|im_end|>", ""), "ends an answer with no end token"),
        (CHAT_TEMPLATE.replace("message['content']", "'x'"), "rewrites the question or the answer"),
        (
            "{% for message in messages %}{% if message['role'] == 'user' %}"
            "{{ raise_exception('no users') }}{% endif %}{% endfor %}",
            "refuses a conversation .no users.",
        ),
    ],
)
def test_a_template_that_cannot_teach_is_refused(
    template: str, message: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=message):
        tokenize(talk("Question", "Answer"), tokenizer)


def test_a_base_model_without_a_template_gets_one_that_ends_answers(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert not ensure_template(tokenizer)
    tokenizer.chat_template = None
    assert ensure_template(tokenizer)
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    (example,) = tokenize(talk("Q", "A", "Q2", "A2"), tokenizer)
    assert learnt(example, tokenizer) == f"A{tokenizer.eos_token}A2{tokenizer.eos_token}"
    text = str(tokenizer.decode(list(example.input_ids)))
    assert text.startswith("### User\nQ\n\n### Assistant\nA")


def test_an_answer_that_holds_a_special_token_as_text_is_left_out(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    conversations = [
        talk("Which token ends an answer?", "It is `<|im_end|>`, always."),
        talk("What is <|im_end|>?", "The end."),
    ]
    examples = make_examples(conversations, tokenizer, 256)
    assert (len(examples.kept), examples.unsayable) == (1, 1)
    assert learnt(examples.kept[0], tokenizer) == "The end.<|im_end|>"


def test_the_tokenizers_that_codeqa_makes_can_teach(tmp_path: Path) -> None:
    own = AutoTokenizer.from_pretrained(tiny_tokenizer(tmp_path / "own"))
    assert not ensure_template(own)
    (example,) = tokenize(talk("Q", "A", "Q2", "A2"), own)
    assert example.labels[-1] in own.all_special_ids
    assert learnt(example, own).startswith("A")


def test_a_tokenizer_that_cannot_end_a_text_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="has no end token"):
        ensure_template(tokenizer)


def test_what_is_too_long_is_left_out_and_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    (short,) = tokenize(talk("Q", "A"), tokenizer)
    conversations = [talk("Q", "A"), talk("Q" * 100, "A")]
    examples = make_examples(conversations, tokenizer, len(short.input_ids))
    assert examples.kept == [short]
    assert examples.too_long == 1
    assert examples.tokens == len(short.input_ids)

    assert examples.shortest == len(short.input_ids)
