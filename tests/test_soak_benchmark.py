"""The people of the soak and the load: they use all of the app, and see what is wrong with it."""

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.history import History
from app.models import open_models
from app.rate_limits import RateLimits
from app.web import launch
from app.workspace import Workspace
from benchmarks.footprint import folder_mb, measure
from benchmarks.keeper import Keeper, list_files, make_repository
from benchmarks.people import WEIGHTS, Browser, Done, Ended, Person
from benchmarks.scene import Scene
from benchmarks.serving import App, serve_stub
from benchmarks.soak import soak
from benchmarks.soak_report import draw_memory, print_report, read_samples, slope_per_hour
from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder

QUESTIONS = ("How does the TokenBucket refill its tokens?", "What does take of TokenBucket do?")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The app in this process, over a small index, with a model's stub."""
    work = tmp_path_factory.mktemp("scene")
    files = {"bucket.py": "class TokenBucket:\n    def take(self) -> bool:\n        return True\n"}
    (work / "source").mkdir()
    for name, text in files.items():
        (work / "source" / name).write_text(text, "utf-8")
    for name in ("limits", "kept"):
        make_repository(work / name, [(path, work / "source" / path) for path in files])
    CodeIndex.build([str(work / "limits")], work / "index", embedder=FakeEncoder()).close()
    (work / "chat.log").write_text("", "utf-8")
    workspace = Workspace(work / "index", embedder=FakeEncoder())
    with (
        serve_stub(12, 40.0) as model,
        closing(History(work / "conversations.sqlite", scope="x")) as history,
        closing(
            launch(
                workspace,
                open_models([model]),
                history,
                port=0,
                block=False,
                rates=RateLimits(["none"]),
            )
        ) as chat,
    ):
        yield Scene(App(chat.url, os.getpid()), work, [work / "kept"], QUESTIONS)


def test_a_person_does_everything_and_nothing_is_wrong(scene: Scene) -> None:
    done: list[Done] = []
    with closing(Browser(scene.app.url, threading.Event())) as browser:
        person = Person(browser, QUESTIONS, done.append, seed=0)
        for name in WEIGHTS:
            getattr(person, f"_{name}")()
    assert [each for each in done if each.problem] == []
    assert len({each.kind for each in done}) == len(WEIGHTS)
    assert all(0 < each.seconds < 60 and each.busy == 0 for each in done)


def test_a_keeper_adds_updates_and_removes_a_repository(scene: Scene) -> None:
    done: list[Done] = []
    with closing(Browser(scene.app.url, threading.Event())) as browser:
        keeper = Keeper(browser, QUESTIONS, done.append, scene.kept[0], seed=0)
        for _ in range(3):
            keeper.act()
    assert [each for each in done if each.problem] == []
    kept = [each.kind for each in done if "repository" in each.kind]
    assert kept == [
        "add a repository",
        "commit to a repository, update it",
        "remove a repository",
    ]
    assert list_files(scene.kept[0]) == ["bucket.py", "round.py"]


def test_a_keeper_is_told_what_cannot_be_done(scene: Scene, tmp_path: Path) -> None:
    done: list[Done] = []
    with closing(Browser(scene.app.url, threading.Event())) as browser:
        keeper = Keeper(browser, QUESTIONS, done.append, tmp_path / "nobody", seed=0)
        with keeper._doing("remove"):
            keeper._remove()
    (gone,) = done
    assert "holds no repository" in str(gone.problem)


@contextmanager
def serve(replies: list[tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """Serve one reply after the other, the last for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = replies.pop(0) if len(replies) > 1 else replies[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def search(url: str) -> Done:
    done: list[Done] = []
    with closing(Browser(url, threading.Event())) as browser:
        Person(browser, QUESTIONS, done.append, seed=0)._search()
    return done[0]


def test_who_is_told_429_waits_as_long_as_it_says() -> None:
    found = json.dumps({"results": [{"path": "a.py"}]}).encode()
    with serve([(429, {"Retry-After": "1"}, b"{}"), (200, {}, found)]) as url:
        came = search(url)
    assert (came.problem, came.busy) == (None, 1)
    assert came.seconds >= 1


@pytest.mark.parametrize(
    ("status", "body", "what"),
    [
        (429, b"go away", "without a Retry-After"),
        (500, b"it broke", "500 it broke"),
        (200, b"no JSON", "JSONDecodeError"),
        (200, b'{"results": []}', "nothing was found"),
        (200, b"{}", "KeyError"),
    ],
)
def test_whatever_else_is_wrong_is_noted(status: int, body: bytes, what: str) -> None:
    with serve([(status, {}, body)]) as url:
        assert what in str(search(url).problem)


def test_a_server_that_is_gone_is_noted_and_an_end_is_no_fault() -> None:
    assert "ConnectError" in str(search("http://127.0.0.1:9").problem)
    ended = threading.Event()
    ended.set()
    with closing(Browser("http://127.0.0.1:9", ended)) as browser, pytest.raises(Ended):
        browser.wait(60)


def test_a_soak_writes_samples_as_it_goes_and_reports_them(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "samples.jsonl"
    options = argparse.Namespace(hours=3 / 3600, people=3, pause=0.1, sample=1.0)
    soak(scene, file, options, threading.Event())
    with file.open("a") as out:
        out.write('{"s": 4.0, "app"')  # as it is when it is killed
    samples = read_samples(file)
    assert len(samples) >= 3
    assert [problem for sample in samples for problem in sample["problems"]] == []
    assert all(sample["app"]["pss_mb"] > 10 for sample in samples)
    assert sum(len(times) for sample in samples for times in sample["ms"].values()) > 3
    draw_memory(samples, tmp_path / "memory.svg")
    assert "<svg" in (tmp_path / "memory.svg").read_text("utf-8")
    assert print_report(samples) == 0
    assert "| memory, PSS |" in capsys.readouterr().out


def sample_at(s: float, pss_mb: float, **more: Any) -> dict[str, Any]:
    app = {"rss_mb": 2 * pss_mb, "pss_mb": pss_mb, "threads": 9, "open_files": 8, "processor_s": s}
    sample = {"s": s, "app": app, "all_processor_s": s, "index_mb": 1.0, "history_mb": 1.0}
    return {**sample, "busy": 0, "ms": {"search": [10, 20]}, "problems": [], **more}


def test_growth_is_told_from_warming_up() -> None:
    warm = [sample_at(60 * minute, 100 + 10 * min(minute, 10)) for minute in range(1, 121)]
    leaks = [sample_at(60 * minute, 200 + minute / 2) for minute in range(1, 121)]
    read = lambda sample: float(sample["app"]["pss_mb"])  # noqa: E731
    assert slope_per_hour(warm, read) == pytest.approx(0, abs=0.01)
    assert slope_per_hour(leaks, read) == pytest.approx(30)


def test_what_failed_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    dead: dict[str, Any] = {"app": {}, "problems": ["the app is gone"]}
    assert print_report([sample_at(30, 100), sample_at(60, 100), sample_at(90, 0, **dead)]) == 1
    assert "1 × the app is gone" in capsys.readouterr().out
    assert print_report([]) == 1


def test_what_a_process_takes_is_measured(tmp_path: Path) -> None:
    before = measure(os.getpid())
    kept = bytearray(os.urandom(1) * 50_000_000)
    threading.Thread(target=time.sleep, args=(1,)).start()
    after = measure(os.getpid())
    assert after.rss_mb - before.rss_mb == pytest.approx(len(kept) / 1024**2, abs=10)
    assert after.threads > before.threads >= 1
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(1024**2))
    assert folder_mb(tmp_path) == 1
