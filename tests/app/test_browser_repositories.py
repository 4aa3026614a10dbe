"""Repositories added, brought up to date and removed from the page, in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.workspace import Workspace
from retrieval.index import CodeIndex
from tests.app.browser_steps import NARROW, WIDE, Open, ask, snap
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, make_repository

if TYPE_CHECKING:
    from playwright.sync_api import Page

FIELD = "#repositories-add textarea, #repositories-add input"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::pandas.errors.PandasDeprecationWarning"),
]


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    return make_repository(
        tmp_path / "stars", {"quasar.py": "def shine():\n    '''Shine.'''\n", "moon.png": b"\0\1"}
    )


@pytest.fixture
def address(servers: Callable[..., str], repository: Path, tmp_path: Path) -> str:
    """A page whose index is this test's own."""
    folder = tmp_path / "index"
    CodeIndex.build([str(repository)], folder, embedder=FakeEncoder()).close()
    return servers(Workspace(folder, embedder=FakeEncoder()))


def open_panel(page: "Page") -> None:
    page.click("#open-repositories")
    page.wait_for_selector("#repositories-list .rows")


def add(page: "Page", spec: str) -> None:
    page.fill(FIELD, spec)
    page.press(FIELD, "Enter")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_a_repository_is_added_updated_and_removed(
    visit: Open, address: str, stars: Path, size: tuple[int, int], scheme: str
) -> None:
    page = visit(address, size, scheme)
    open_panel(page)
    page.get_by_text("up to date").wait_for()
    add(page, str(stars))
    page.get_by_text("stars: 1 file, 1 passage, 1 file skipped. 1 passage embedded").wait_for()
    assert page.input_value(FIELD) == ""
    page.locator("#repositories li", has_text="stars").get_by_text("1 file skipped").click()
    assert page.get_by_text("1: binary").is_visible() or page.get_by_text("1: not a").is_visible()
    snap(page, f"repositories-{scheme}")
    box = page.locator("#repositories").bounding_box()
    assert box is not None and box["x"] + box["width"] <= size[0] + 1
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    commit_files(stars, {"pulsar.py": "pulsar = 1\n"})
    page.get_by_role("button", name="Update stars").click()
    page.get_by_text("stars: 2 files, 2 passages").wait_for()
    remove = page.get_by_role("button", name="Remove stars")
    remove.click()
    page.get_by_text("Really remove?").wait_for()
    remove.click()
    page.get_by_text("stars removed in").wait_for()
    assert page.get_by_role("button", name="Remove limits").is_disabled()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "open-repositories"
    assert "does not" not in ask(page, "What is a token bucket?")


def test_what_cannot_be_added_is_said(visit: Open, address: str, tmp_path: Path) -> None:
    page = visit(address)
    open_panel(page)
    for spec, said in (
        (str(tmp_path / "nowhere"), "nowhere does not exist"),
        ("--upload-pack=touch", "not a repository"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)> does not exist"),
    ):
        add(page, spec)
        page.locator("#repositories .failure", has_text=said).wait_for()
    assert page.locator("#repositories img").count() == 0
    page.wait_for_selector("#repositories .failure")


def test_the_panel_is_used_by_keyboard_alone(visit: Open, address: str) -> None:
    page = visit(address)
    page.wait_for_selector("#open-repositories")
    page.focus("#open-repositories")
    page.keyboard.press("Enter")
    page.wait_for_selector("#repositories-list .rows")
    assert page.evaluate("document.activeElement.closest('#repositories-add') !== null")
    assert page.get_by_role("dialog", name="Repositories").is_visible()
    page.focus("#repositories-head [data-do=close]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#repositories", state="hidden")
