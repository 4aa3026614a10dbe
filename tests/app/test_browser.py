"""The page in a real browser: asked, clicked, narrowed, poisoned.

This file is long because its tests share one browser and one set of steps through the page.
"""

import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from app.web import launch
from app.workspace import Workspace
from retrieval.index import CodeIndex
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import head_of, make_repository, run_git
from tests.llm_helpers import open_chat
from tests.stub_openai import Message, StubOpenAI

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WIDE, NARROW = (1280, 800), (390, 844)
WAIT_MS = 15_000  # for anything to appear
QUESTION = "How does the TokenBucket refill its tokens?"
ANSWER = "Each client has a `TokenBucket`, which gains tokens with time [1:L{0}-L{1}]. " + (
    "When it is empty, the service answers with status 429. " * 4
)
FORBIDDEN = "http://192.0.2.1/pixel.png"
POISON = """\
It works [1:L{0}-L{1}].

<img src="http://evil.example/pixel.png" onerror="window.poisoned = true">
<script>window.poisoned = true</script>
![pixel](http://evil.example/pixel.png)
[click me](javascript:window.poisoned=true)
<a href="javascript:window.poisoned=true" onclick="window.poisoned = true">and me</a>

```html
<img src="http://evil.example/pixel.png" onerror="window.poisoned = true">
```
"""

Open = Callable[..., "Page"]

pytestmark = [
    pytest.mark.browser,
    # Gradio's own, when it sums up how long its requests took.
    pytest.mark.filterwarnings("ignore::pandas.errors.PandasDeprecationWarning"),
]


class HeldEncoder(FakeEncoder):
    """Embeds nothing until it is let go, but for questions."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Wait, then embed."""
        self.let_go.wait(60)
        return super().embed(texts)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose commit is on GitHub, as far as git knows."""
    folder = make_repository(tmp_path_factory.mktemp("browser") / "limits", TINY_FILES)
    run_git(folder, "remote", "add", "origin", "https://github.com/ada/limits.git")
    run_git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


@pytest.fixture(scope="module")
def index_folder(repository: Path) -> Path:
    folder = repository.parent / "index"
    CodeIndex.build([str(repository)], folder, embedder=FakeEncoder()).close()
    return folder


@pytest.fixture(scope="module")
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI() as stub:
        yield stub


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[..., str]]:
    """Serve pages until the module is done; returns a page's address."""
    with ExitStack() as stack:

        def serve(workspace: Workspace, llm: str | None = None) -> str:
            with closing(socket.socket()) as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            chat = open_chat(llm) if llm else None
            page = launch(workspace, chat, port=port, block=False)
            stack.callback(page.close, verbose=False)
            return f"http://127.0.0.1:{port}/"

        yield serve


@pytest.fixture(scope="module")
def quoting(servers: Callable[..., str], index_folder: Path) -> str:
    """Address of a page without a language model."""
    return servers(Workspace(index_folder, embedder=FakeEncoder()))


@pytest.fixture(scope="module")
def modelled(servers: Callable[..., str], index_folder: Path, stub: StubOpenAI) -> str:
    """Address of a page with one."""
    return servers(Workspace(index_folder, embedder=FakeEncoder()), stub.url)


@pytest.fixture(autouse=True)
def _fresh_stub(stub: StubOpenAI) -> None:
    stub.reply, stub.fault, stub.delay_s = cite(ANSWER), None, 0.0
    stub.requests.clear()


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Open]:
    """Open a page; in the end, check that it asked no other host and threw no error."""
    contexts, foreign, errors = [], [], []

    def open_page(address: str, size: tuple[int, int] = WIDE, scheme: str = "light") -> "Page":
        options: dict[str, Any] = {"color_scheme": scheme}
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((address, "data:", "blob:", FORBIDDEN))
                else foreign.append(request.url)
            ),
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#messages .welcome")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert foreign == []
    assert errors == []


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
        + '#messages .citation, #question, #tools, #side, .passage, .passage summary, .about')]
        .filter(node => node.getBoundingClientRect().right > innerWidth + 1)
        .map(node => node.className + node.id)"""
    too_wide: list[str] = page.evaluate(script)
    scrolls: bool = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return not too_wide and not scrolls


def test_the_page_opens_ready_to_type(visit: Open, quoting: str) -> None:
    page = visit(quoting)
    page.keyboard.type("What is a token bucket?")  # the field has the focus
    assert page.input_value("#question textarea") == "What is a token bucket?"
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("And why?")
    assert page.input_value("#question textarea") == "What is a token bucket?\nAnd why?"
    assert page.get_by_label("Your question").count() == 1
    header = page.inner_text(".masthead")
    assert "limits" in header
    assert "no language model is connected" in header


def test_an_answer_is_quoted_and_its_lines_are_marked(
    visit: Open, quoting: str, repository: Path
) -> None:
    page = visit(quoting)
    assert "Quoted from the code" in ask(page)
    marked = page.locator("#evidence .line.cited")
    assert marked.count() > 0
    colours = [
        page.locator(f"#evidence .source:not(.whole) .line{kind}").first.evaluate(
            "line => getComputedStyle(line).backgroundColor"
        )
        for kind in (".cited", ":not(.cited)")
    ]
    assert colours[0] != colours[1]
    assert page.locator("#evidence .hl-k, #evidence .hl-gh").count() > 0
    link = page.locator("#evidence .links a", has_text="open at commit").first
    commit = head_of(repository)
    assert link.inner_text().startswith(f"open at commit {commit[:7]} on GitHub")
    assert link.get_attribute("href").startswith(  # type: ignore[union-attr]
        f"https://github.com/ada/limits/blob/{commit}/"
    )


def test_a_click_on_a_citation_leads_to_its_lines(visit: Open, quoting: str) -> None:
    page = visit(quoting, NARROW)  # where the evidence is out of sight
    address = f"{quoting}?__theme=light"
    page.goto(address)
    ask(page)
    citation = page.locator("#messages .citation").first
    target = page.locator(str(citation.get_attribute("href")))
    assert target.evaluate("n => n.getBoundingClientRect().top > innerHeight")
    citation.click()
    page.wait_for_function(
        "id => { const box = document.querySelector(id).getBoundingClientRect();"
        "return box.top >= 0 && box.bottom <= innerHeight }",
        arg=str(citation.get_attribute("href")),
    )
    assert page.url == address + str(citation.get_attribute("href"))
    assert "cited" in str(target.get_attribute("class"))
    page.click("#evidence .back")
    page.wait_for_function("document.querySelector('#talk').getBoundingClientRect().top >= 0")


def test_a_citation_unfolds_its_passage(visit: Open, quoting: str) -> None:
    page = visit(quoting)
    ask(page)
    folded = page.locator("#evidence .passage.cited:not([open]) .line.cited").first
    name = folded.get_attribute("id")
    assert not page.is_visible(f"#{name}")
    page.click(f'#messages .citation[href="#{name}"]')
    page.wait_for_selector(f"#{name}")


def test_an_answer_streams_and_can_be_stopped(visit: Open, modelled: str, stub: StubOpenAI) -> None:
    page = visit(modelled)
    assert "Answers by stub-model" in page.inner_text(".masthead")
    stub.reply, stub.delay_s = cite(ANSWER + "It goes on. " * 400), 0.05
    send(page)
    answer = page.locator("#messages .bot .md")
    page.wait_for_function("document.querySelector('#messages .bot .citation')")
    lengths = [len(answer.inner_text())]
    assert page.locator("#evidence .line.cited").count() > 0  # marked while it streams
    for _ in range(3):
        page.wait_for_function(
            "n => document.querySelector('#messages .bot .md').innerText.length > n",
            arg=lengths[-1],
        )
        lengths.append(len(answer.inner_text()))
    assert lengths == sorted(set(lengths))
    page.click("#question .stop-button")
    page.get_by_text("Stopped").wait_for()
    assert stub.chats[-1].done.wait(5)
    assert stub.chats[-1].closed_early
    stub.reply, stub.delay_s = cite(ANSWER), 0.0
    assert "Written by stub-model" in ask(page, "What is a token bucket?")


def test_a_follow_up_shows_what_was_searched_for(visit: Open, modelled: str) -> None:
    page = visit(modelled)
    ask(page)
    answer = ask(page, "And how are they taken?")
    assert "Searched for: How are the tokens of the TokenBucket taken?" in answer
    earlier = page.locator("#messages .bot").first.locator(".citation").first
    earlier.click()  # its lines are folded away with the earlier evidence
    page.locator(str(earlier.get_attribute("href"))).wait_for(state="visible")
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_selector("#messages .welcome")
    assert page.locator("#evidence .passage").count() == 0


def test_a_language_filter_changes_the_evidence(visit: Open, quoting: str) -> None:
    page = visit(quoting)
    question = "What happens when a client asks too often?"
    ask(page, question)
    paths = page.locator("#evidence .current .path")
    assert any(path.endswith(".py") for path in paths.all_inner_texts())
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Languages").click()
    page.get_by_role("option", name="typescript").click()
    page.get_by_role("button", name="Filters: only typescript").wait_for()
    ask(page, question)
    assert {path.rpartition(".")[2] for path in paths.all_inner_texts()} == {"ts"}


def test_examples_are_clicked_to_be_asked(visit: Open, quoting: str) -> None:
    page = visit(quoting)
    example = page.locator("#messages .example").first
    question = example.inner_text()
    example.click()
    page.wait_for_selector("#messages .footnotes")
    assert page.locator("#messages .asked").inner_text() == question


def test_a_failing_model_is_said_and_the_page_goes_on(
    visit: Open, modelled: str, stub: StubOpenAI
) -> None:
    page = visit(modelled)
    stub.fault = "error_event"
    assert "the engine died" in ask(page)
    assert page.locator("#evidence .passage").count() > 0
    stub.fault = None
    assert "Written by stub-model" in ask(page)


def test_a_poisoned_answer_is_inert(visit: Open, modelled: str, stub: StubOpenAI) -> None:
    page = visit(modelled)
    stub.reply = cite(POISON)
    answer = ask(page)
    assert '<img src="http://evil.example/pixel.png"' in answer  # as text
    message = page.locator("#messages .bot").last
    assert message.locator("img, script, [onclick], [onerror]").count() == 0
    links = message.locator("a").evaluate_all("all => all.map(link => link.getAttribute('href'))")
    assert [link for link in links if not link.startswith("#a1p1")] == []
    for text in ("click me", "and me"):
        message.get_by_text(text).first.click()
    assert page.evaluate("window.poisoned") is None


def test_even_an_image_that_got_through_would_not_load(visit: Open, quoting: str) -> None:
    page = visit(quoting)
    blocked = page.evaluate(
        """src => new Promise(done => {
            document.addEventListener('securitypolicyviolation', event => done(event.blockedURI));
            document.body.append(Object.assign(new Image(), {src}));
        })""",
        FORBIDDEN,
    )
    assert blocked == FORBIDDEN


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_telephone(visit: Open, modelled: str, scheme: str) -> None:
    page = visit(modelled, NARROW, scheme)
    assert has_no_overflow(page)
    ask(page)
    assert has_no_overflow(page)
    beside = page.locator("#side").bounding_box()
    above = page.locator("#talk").bounding_box()
    assert beside is not None
    assert above is not None
    assert beside["y"] >= above["y"] + above["height"] - 1
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")


def test_evidence_is_beside_the_answer_where_there_is_room(visit: Open, modelled: str) -> None:
    page = visit(modelled)
    ask(page)
    assert has_no_overflow(page)
    assert page.locator("#side").bounding_box()["x"] > 400  # type: ignore[index]


def test_while_the_index_is_made_words_are_searched(
    visit: Open, servers: Callable[..., str], repository: Path, tmp_path: Path
) -> None:
    encoder = HeldEncoder()
    workspace = Workspace(tmp_path / "index", [str(repository)], encoder)
    workspace.start()
    page = visit(servers(workspace))
    page.get_by_text("Words can be searched; meaning follows: embedding 0 of").wait_for()
    assert page.locator(".banner progress").count() == 1
    assert "found by words alone" in ask(page)
    encoder.let_go.set()
    page.wait_for_selector(".banner", state="detached")
    assert "found by words alone" not in ask(page)


def test_without_an_index_the_page_says_what_to_run(
    visit: Open, servers: Callable[..., str], tmp_path: Path
) -> None:
    page = visit(servers(Workspace(tmp_path / "none")))
    welcome = page.inner_text("#messages .welcome")
    assert "make chat REPO=https://github.com/owner/name" in welcome
    assert "codeqa chat REPO" in welcome
    assert page.is_disabled("#question textarea")


def test_two_people_do_not_see_each_other(visit: Open, modelled: str) -> None:
    one, two = visit(modelled), visit(modelled)
    ask(one, "What is a token bucket?")
    assert two.locator("#messages .asked").count() == 0
    ask(two, "What is Retry-After?")
    assert one.locator("#messages .asked").all_inner_texts() == ["What is a token bucket?"]
