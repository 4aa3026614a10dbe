"""A person who keeps the app's repositories: adds one, commits to it, updates it, removes it.

The buttons of the page's panel are pressed as Gradio's own script presses them. A thing counts as
done when the panel's list says so, however many jobs of other people come before it.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.people import Browser, Fault, Note, Person

DONE_S = 300.0  # at most, until a repository is added, updated or removed
LOOK_S = 1.0  # between two looks at the list, as the page does it
SHOWN = 7  # characters of a commit
LISTING, ADD, PROBLEM = "repositories-list", "repositories-add", "repositories-problem"
_AGAIN = re.compile(r"again in (\d+) s")


class Keeper(Person):
    """Keeps one repository of their own, a folder of the machine that the app runs on."""

    def __init__(
        self, browser: Browser, questions: Sequence[str], note: Note, folder: Path, *, seed: int
    ) -> None:
        """Come to the page.

        :param folder: of a git repository, which is committed to; its name is no other's.
        """
        super().__init__(browser, questions, note, seed=seed)
        self._folder = folder
        self._panel: _Panel | None = None
        self._rounds = 0
        self._steps: list[tuple[str, Callable[[], None]]] = []

    def act(self) -> None:
        """Do the next step of a round: add, ask, commit and update, ask, remove.

        :raises Ended: there is no time left.
        """
        if not self._steps:
            self._steps = [
                ("remove a repository", self._remove),
                ("commit to a repository, update it", self._update),
                ("add a repository", self._add),
            ]
        kind, step = self._steps.pop()
        with self._doing(kind):
            step()
        super().act()

    def _add(self) -> None:
        self._press(ADD, "submit", [str(self._folder)])
        self._wait_for(lambda listing: self._name in listing and self._commit in listing)

    def _update(self) -> None:
        self._rounds += 1
        commit_to(self._folder, f"Round {self._rounds}", {"round.py": f"ROUND = {self._rounds}\n"})
        self._press(LISTING, "click", [], {"do": "update", "name": self._folder.name})
        self._wait_for(lambda listing: self._commit in listing)

    def _remove(self) -> None:
        self._press(LISTING, "click", [], {"do": "remove", "name": self._folder.name})
        self._wait_for(lambda listing: self._name not in listing)

    @property
    def _name(self) -> str:
        return f'data-name="{self._folder.name}"'

    @property
    def _commit(self) -> str:
        return f"<code>{_git(self._folder, 'rev-parse', 'HEAD')[:SHOWN]}</code>"

    def _press(self, element: str, event: str, data: list[Any], told: object = None) -> None:
        """Press a button until the app takes it.

        :raises Fault: it says that this cannot be done.
        """
        self._panel = self._panel or _Panel(self._browser)
        while problem := self._panel.press(element, event, data, told).get(PROBLEM):
            again = _AGAIN.search(problem)
            if not again:
                raise Fault(problem)
            self._browser.busy += 1
            self._browser.wait(float(again[1]))

    def _wait_for(self, is_so: Callable[[str], bool]) -> None:
        end_s = time.monotonic() + DONE_S
        assert self._panel
        while not is_so(self._panel.press(None, "tick", []).get(LISTING, "")):
            if time.monotonic() > end_s:
                raise Fault(f"not done after {DONE_S:.0f} s")
            self._browser.wait(LOOK_S)


class _Panel:
    """The panel's events, found in what the page is told of itself."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        config = browser.get("/config").json()
        self._names = {
            each["id"]: each["props"].get("elem_id") or None for each in config["components"]
        }
        self._events = {
            (self._names[target[0]], target[1]): each
            for each in config["dependencies"]
            for target in each["targets"]
        }

    def press(
        self, element: str | None, event: str, data: list[Any], told: object = None
    ) -> dict[str, str]:
        """Let an event happen; return the HTML of the elements that it changed.

        :param element: None is the timer, which has no name.
        """
        found = self._events[element, event]
        body = {
            "fn_index": found["id"],
            "data": data,
            "event_data": told,
            "session_hash": f"keeper{id(self)}",
        }
        reply = self._browser.post("/gradio_api/run/predict", body).json()["data"]
        changed = zip(found["outputs"], reply, strict=True)
        return {self._names[each] or "": value for each, value in changed if isinstance(value, str)}


def make_repository(folder: Path, files: Sequence[tuple[str, Path]]) -> None:
    """Make a git repository of copies of files.

    :param files: the path of each in the repository, and where it is copied from.
    """
    for path, source in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / path)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    commit_to(folder, "Files", {})


def commit_to(folder: Path, message: str, files: dict[str, str]) -> None:
    """Write files into a git repository and commit all that is there.

    :param files: path → text.
    """
    for path, text in files.items():
        (folder / path).write_text(text, "utf-8")
    _git(folder, "add", "--all")
    person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    words = ("--quiet", "--no-verify", "--allow-empty", f"--message={message}")
    _git(folder, *person, "commit", *words)


def list_files(repository: Path, suffixes: Sequence[str] = (".py", ".md")) -> list[str]:
    """List the paths that are tracked by a git repository and have one of the suffixes."""
    paths = _git(repository, "ls-files", "-z").split("\0")
    return [path for path in paths if path.endswith(tuple(suffixes))]


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
