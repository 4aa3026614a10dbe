"""A browser, and pages to visit in it: what the tests marked `browser` share."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest

from app.history import History
from app.models import open_models
from app.web import launch
from app.workspace import Workspace
from retrieval.index import CodeIndex
from tests.app.browser_steps import ANSWER, FORBIDDEN, WAIT_MS, WIDE, Open, cite
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import make_repository, run_git
from tests.stub_openai import StubOpenAI

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")  # not longer: playwright keeps an event loop running
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
    with StubOpenAI(models=("stub-model", "tuned-model")) as stub:
        yield stub


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Serve pages until the module is done; returns a page's address."""
    with ExitStack() as stack:

        def serve(workspace: Workspace, llm: str | None = None) -> str:
            file = tmp_path_factory.mktemp("history") / "conversations.sqlite"
            history = History(file, scope=str(workspace.folder))
            page = launch(
                workspace, open_models([llm] if llm else []), history, port=0, block=False
            )
            stack.callback(page.close)
            return f"{page.url}/"

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
def _fresh_stub(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("browser"):
        stub: StubOpenAI = request.getfixturevalue("stub")
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
                if request.url.startswith((urljoin(address, "/"), "data:", "blob:", FORBIDDEN))
                else foreign.append(request.url)
            ),
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#welcome:not([hidden]) .welcome, #exchanges .message")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert foreign == []
    assert errors == []
