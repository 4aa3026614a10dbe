"""The language model behind `--llm`: specs, thinking, and models of other makers."""

import subprocess
import sys
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from app.llm import chat_model_name, open_chat_model, stream_text, without_thinking
from tests.llm_helpers import MESSAGES, error_of

ROOT = Path(__file__).parents[2]


def test_none_is_no_model() -> None:
    assert open_chat_model("none") is None


def test_importing_the_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, app.llm, app.llm_server, app.llm_folder\n"
        "print({'torch', 'transformers', 'openai', 'langchain_core', 'pydantic'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_thinking_is_taken_out_wherever_the_pieces_are_cut() -> None:
    text = "\n<think>\nHm < / think>? </thin\n</think>\n\nIt is <think>here</think>."
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            pieces = [text[:first], text[first:second], text[second:]]
            assert "".join(without_thinking(pieces)) == "It is <think>here</think>."
    assert "".join(without_thinking(text)) == "It is <think>here</think>."


TEXTS = st.text(alphabet="<>/think \nab", max_size=40)


@settings(derandomize=True, deadline=None, database=None)
@given(thought=TEXTS, answer=TEXTS, lengths=st.lists(st.integers(0, 9), max_size=20))
def test_any_thought_is_taken_out_and_any_answer_is_left(
    thought: str, answer: str, lengths: list[int]
) -> None:
    block = f"<think>{thought}</think>"
    assume(block.index("</think>") == len(block) - len("</think>"))
    assert "".join(without_thinking(cut(block + answer, lengths))) == answer.lstrip()
    if not answer.lstrip().startswith("<think>"):
        pieces = [*without_thinking(cut(answer, lengths))]
        assert "".join(pieces) == answer
        assert "" not in pieces


def cut(text: str, lengths: list[int]) -> list[str]:
    pieces = []
    for length in lengths:
        pieces.append(text[:length])
        text = text[length:]
    return [*pieces, text]


def test_an_answer_is_not_held_back_once_it_has_begun() -> None:
    pieces = without_thinking(iter(["<thi", "nk>x</think>", "\n", "\nIt", " is"]))
    assert [*pieces] == ["It", " is"]


def test_any_langchain_model_can_be_streamed() -> None:
    chat = GenericFakeChatModel(messages=iter([AIMessage("<think>no</think> Look here.")]))
    assert "".join(stream_text(chat, MESSAGES)) == "Look here."
    assert chat_model_name(chat) == "GenericFakeChatModel"
    assert "try another --llm" in error_of(lambda: list(stream_text(chat, MESSAGES)))
