"""Steps through the page in a browser: ask, wait, look. Fixtures are in `tests/app/conftest.py`."""

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tests.fakes import FakeEncoder
from tests.stub_openai import Message

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDE, NARROW = (1280, 800), (390, 844)
WAIT_MS = 15_000  # for anything to appear
QUESTION = "How does the TokenBucket refill its tokens?"
ANSWER = "Each client has a `TokenBucket`, which gains tokens with time [1:L{0}-L{1}]. " + (
    "When it is empty, the service answers with status 429. " * 4
)
FORBIDDEN = "http://192.0.2.1/pixel.png"
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

Open = Callable[..., "Page"]


class HeldEncoder(FakeEncoder):
    """Embeds nothing until it is let go, but for questions."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Wait, then embed."""
        self.let_go.wait(60)
        return super().embed(texts)


def cite(text: str) -> Callable[[list[Message]], str]:
    """A reply that cites lines 2 and 3 of the first passage, and rewrites a follow-up."""

    def reply(messages: list[Message]) -> str:
        prompt = messages[-1]["content"]
        if "Last question:" in prompt:
            return "How are the tokens of the TokenBucket taken?"
        first = int(re.search(r"^\[1\] \S+:L(\d+)", prompt, re.MULTILINE)[1])  # type: ignore[index]
        return text.replace("{0}", str(first + 1)).replace("{1}", str(first + 2))

    return reply


def send(page: "Page", question: str = QUESTION) -> None:
    """Type a question and send it."""
    page.wait_for_selector("#question .submit-button")  # it is the stop button till all has ended
    page.fill("#question textarea", question)
    page.press("#question textarea", "Enter")


def ask(page: "Page", question: str = QUESTION) -> str:
    """Ask, wait for the whole answer, and return its text."""
    answers = page.locator("#messages .bot")
    before = answers.count()
    send(page, question)
    answers.nth(before).wait_for()
    page.wait_for_selector("#question .submit-button")  # until then it is the stop button
    return answers.nth(before).inner_text()


def has_no_overflow(page: "Page") -> bool:
    """Whether everything fits the width; what scrolls by itself may be wider inside."""
    script = """() => [...document.querySelectorAll('.masthead *, .banner, #talk, #talk .md > *,'
        + '#messages .citation, #question, #tools *, #side, .passage, .passage summary, .about')]
        .filter(node => !node.closest('.hidden'))
        .filter(node => node.getBoundingClientRect().right > innerWidth + 1)
        .map(node => node.className + node.id)"""
    too_wide: list[str] = page.evaluate(script)
    scrolls: bool = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return not too_wide and not scrolls


def snap(page: "Page", name: str) -> None:
    """Keep a picture of the page as `build/screenshots/NAME.png`, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
