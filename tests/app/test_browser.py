"""The page in a real browser: asked, clicked, narrowed, poisoned."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.workspace import Workspace
from tests.app.browser_steps import (
    ANSWER,
    FORBIDDEN,
    NARROW,
    HeldEncoder,
    Open,
    ask,
    cite,
    has_no_overflow,
    send,
    snap,
)
from tests.git_repositories import head_of
from tests.stub_openai import StubOpenAI

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

pytestmark = [
    pytest.mark.browser,
    # Gradio's own, when it sums up how long its requests took.
    pytest.mark.filterwarnings("ignore::pandas.errors.PandasDeprecationWarning"),
]


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
    marked.first.wait_for()
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
    ask(page, "And how are they taken?")
    assert page.inner_text("#messages .searched") == (
        "Searched for: How are the tokens of the TokenBucket taken?"
    )
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_selector("#messages .welcome")
    assert page.locator("#evidence .passage").count() == 0


def test_a_language_filter_changes_the_evidence(visit: Open, quoting: str) -> None:
    page = visit(quoting)
    question = "What happens when a client asks too often?"
    ask(page, question)
    paths = page.locator("#evidence .current .path")
    assert any(path.endswith(".py") for path in paths.all_inner_texts())
    page.click("#filters summary")
    page.get_by_label("typescript (1)").check()
    page.get_by_text("Filters: only typescript").wait_for()
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
    snap(page, f"answer-narrow-{scheme}")
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
    snap(page, "answer-wide")
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
