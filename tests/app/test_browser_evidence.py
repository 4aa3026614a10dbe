"""The file behind a citation, in a real browser: opened, read beyond, linked to, closed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.workspace import Workspace
from retrieval.index import CodeIndex
from tests.app.browser_steps import NARROW, WIDE, Open, ask, snap
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, head_of, make_repository, run_git

if TYPE_CHECKING:
    from playwright.sync_api import Page

LINES = 3_000
BEFORE = "".join(f"before_{number} = {number}\n" for number in range(1, LINES // 2))
AFTER = "".join(f"after_{number} = {number}\n" for number in range(1, LINES // 2))
QUASAR = (
    'def quasar_brightness() -> float:\n    """How bright a quasar is."""\n    return 1e40\n\n\n'
)
QUESTION = "How bright is a quasar?"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::pandas.errors.PandasDeprecationWarning"),
]


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_repository(
        tmp_path_factory.mktemp("stars") / "stars",
        {**TINY_FILES, "sky/quasar.py": BEFORE + QUASAR + AFTER},
    )
    run_git(folder, "remote", "add", "origin", "https://github.com/ada/stars.git")
    run_git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


@pytest.fixture(scope="module")
def workspace(stars: Path) -> Workspace:
    folder = stars.parent / "index"
    CodeIndex.build([str(stars)], folder, embedder=FakeEncoder()).close()
    return Workspace(folder, embedder=FakeEncoder())


@pytest.fixture(scope="module")
def address(servers: Callable[..., str], workspace: Workspace) -> str:
    return servers(workspace)


def open_citation(page: "Page") -> tuple[int, int]:
    """Ask, click the citation of the long file, and return the lines that the viewer has."""
    ask(page, QUESTION)
    page.locator("#messages .citation", has_text="quasar.py").first.click()
    page.wait_for_selector("#viewer .line.cited")
    return lines_shown(page)


def lines_shown(page: "Page") -> tuple[int, int]:
    page.wait_for_selector("#viewer .status:has-text('Lines')")
    first, last = re.findall(r"\d+", page.inner_text("#viewer .status"))[:2]
    return int(first), int(last)


def scroll_to(page: "Page", top: str) -> None:
    page.evaluate(
        f"(() => {{ const s = document.querySelector('#viewer .source'); s.scrollTop = {top} }})()"
    )


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_a_citation_opens_the_file_at_its_lines(
    visit: Open, address: str, size: tuple[int, int], scheme: str
) -> None:
    page = visit(address, size, scheme)
    first, last = open_citation(page)
    assert 1 < first < last < LINES  # a window of the file, not all of it
    cited = page.locator("#viewer .line.cited")
    assert "quasar_brightness" in "".join(cited.all_inner_texts())
    box = cited.first.bounding_box()
    assert box is not None and 0 <= box["y"] < size[1]
    assert "sky/quasar.py" in page.inner_text("#viewer h2")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    snap(page, f"file-{scheme}")


def test_the_file_is_read_beyond_the_cited_lines(visit: Open, address: str) -> None:
    page = visit(address)
    first, last = open_citation(page)
    scroll_to(page, "1e9")
    page.wait_for_function(
        f"/–(\\d+)/.exec(document.querySelector('#viewer .status').innerText)[1] > {last}"
    )
    scroll_to(page, "0")
    page.wait_for_function(
        f"/(\\d+)–/.exec(document.querySelector('#viewer .status').innerText)[1] < {first}"
    )
    numbers = page.locator("#viewer .pick").all_inner_texts()
    start, end = lines_shown(page)
    assert numbers == [str(number) for number in range(start, end + 1)]


def test_lines_are_chosen_and_their_permalink_copied(
    visit: Open, address: str, stars: Path
) -> None:
    page = visit(address)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_citation(page)
    page.locator("#viewer .line.cited .pick").first.click()
    page.locator("#viewer .line.cited .pick").nth(1).click(modifiers=["Shift"])
    label = page.inner_text("#viewer .copy")
    start, end = map(int, re.findall(r"\d+", label))
    assert end == start + 1
    page.click("#viewer .copy")
    page.get_by_text("The link is copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == (
        f"https://github.com/ada/stars/blob/{head_of(stars)}/sky/quasar.py#L{start}-L{end}"
    )


def test_escape_closes_the_file_and_gives_the_focus_back(visit: Open, address: str) -> None:
    page = visit(address)
    open_citation(page)
    assert page.evaluate("document.activeElement.closest('#viewer') !== null")
    assert not page.is_visible("#evidence")
    page.keyboard.press("Escape")
    assert page.locator("#viewer").count() == 0
    assert page.evaluate("document.activeElement.className") == "citation"
    assert page.is_visible("#evidence .passage.cited")
    page.locator("#evidence .passage[open] .open-file").first.click()
    page.wait_for_selector("#viewer .line")
    page.get_by_role("button", name="← Evidence").click()
    assert page.is_visible("#evidence")


def test_after_another_indexing_the_answer_s_own_lines_are_shown(
    visit: Open, servers: Callable[..., str], stars: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "index"
    CodeIndex.build([str(stars)], folder, embedder=FakeEncoder()).close()
    workspace = Workspace(folder, [str(stars)], FakeEncoder())
    page = visit(servers(workspace))
    ask(page, QUESTION)
    commit_files(stars, {"sky/quasar.py": "shifted = 1\n" + BEFORE + QUASAR + AFTER})
    workspace.start()
    workspace.wait(60)
    page.locator("#messages .citation", has_text="quasar.py").first.click()
    page.get_by_text("was indexed anew since").wait_for()
    cited = page.locator("#viewer .line.cited").all_inner_texts()
    assert "quasar_brightness" in "".join(cited)
