"""People who use the app over HTTP, for `benchmarks.soak` and `benchmarks.load`.

They do what the page's script and an API client do: ask, read answers as they come, go away in the
middle and come back, stop them, rate, compare, search, read files, reload, tidy up. Whoever is told
429 waits as long as Retry-After says and asks again, which is no fault; whatever else is not as it
should be is one, and is noted in words. Times run from the first try to the end, waits included.
"""

import json
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.serving_stub import NAME

TIMEOUT_S = 120.0  # without a byte from the server
KEPT_OPEN_S = 2.0  # a connection that rests; the server closes it after 5, perhaps as one asks
PATIENCE_S = 300.0  # of waits after 429, for one thing to be done
MAX_KEPT = 5  # conversations of one person; older ones are deleted
WEIGHTS = {  # how often each thing is done, beside the others
    "ask_on_page": 30,
    "ask_more": 10,
    "ask_api": 14,
    "quote": 8,
    "search": 15,
    "read_file": 8,
    "leave_and_return": 5,
    "stop": 5,
    "reload": 5,
    "rate": 4,
    "compare_and_vote": 3,
    "export": 3,
}


FIRST_PASSAGE = re.compile(r'id="a\d+p1"')  # of the evidence, on the page


class Fault(Exception):
    """Something that the app did was not as it should be."""


class Ended(Exception):
    """There is no time left to finish what was begun; no fault."""


@dataclass(frozen=True)
class Done:
    """One thing that a person did.

    :param kind: what it was.
    :param seconds: from the first try.
    :param busy: how often it was answered with 429 first.
    :param problem: what was wrong, in one line; None if nothing was.
    """

    kind: str
    seconds: float
    busy: int = 0
    problem: str | None = None


Note = Callable[[Done], None]


class Browser:
    """One person's connection to the app; it waits where the app asks for that.

    :ivar busy: how often it was answered with 429.
    """

    def __init__(self, url: str, ended: threading.Event) -> None:
        """Connect when something is first asked for.

        :param ended: set when there is no time left.
        """
        self.busy = 0
        self._ended = ended
        limits = httpx.Limits(keepalive_expiry=KEPT_OPEN_S)
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, limits=limits)

    def get(self, path: str, /, **query: str | int) -> httpx.Response:
        """Ask for something small."""
        with self._send("GET", path, params=query) as response:
            response.read()
            return response

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send something; return the reply."""
        with self._send("POST", path, json=body) as response:
            response.read()
            return response

    @contextmanager
    def lines(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> Iterator[Iterator[str]]:
        """Give the lines of a reply as they come, empty ones left out; hang up at the end."""
        with self._send(method, path, json=body) as response:
            yield (line for line in response.iter_lines() if line)

    def wait(self, seconds: float) -> None:
        """Do nothing for a while.

        :raises Ended: there is no time left.
        """
        if self._ended.wait(seconds):
            raise Ended

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    @contextmanager
    def _send(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:  # noqa: ANN401
        patience_s = PATIENCE_S
        while True:
            with self._client.stream(method, path, **options) as response:
                if response.status_code != 429:
                    if response.status_code >= 400:
                        raise Fault(f"{path}: {response.status_code} {_read_start(response)}")
                    yield response
                    return
                wait_s = _retry_after_s(response)
            self.busy += 1
            patience_s -= wait_s
            if patience_s < 0:
                raise Fault(f"{path}: refused as busy for {PATIENCE_S:.0f} s")
            self.wait(wait_s * random.uniform(1.0, 1.5))


def _read_start(response: httpx.Response) -> str:
    return response.read().decode("utf-8", "replace")[:200].replace("\n", " ")


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        raise Fault(f"429 without a Retry-After in seconds: {_read_start(response)}") from None


class Person:
    """Does one thing after the other, drawn by `WEIGHTS`."""

    def __init__(
        self, browser: Browser, questions: Sequence[str], note: Note, *, seed: int
    ) -> None:
        """Come to the page.

        :param note: is told of everything that was done.
        """
        self._browser = browser
        self._questions = questions
        self._note = note
        self._chance = random.Random(seed)
        self._kept: deque[str] = deque()
        self._last_exchange = ""

    def act(self) -> None:
        """Do one thing, and tidy up where too many conversations have come together.

        :raises Ended: there is no time left.
        """
        (name,) = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        getattr(self, f"_{name}")()
        if len(self._kept) > MAX_KEPT:
            with self._doing("delete a conversation"):
                self._browser.post("/page/delete", {"conversation": self._kept.popleft()})

    @contextmanager
    def _doing(self, kind: str) -> Iterator[None]:
        """Note how long something took, and what was wrong with it."""
        begun_s, busy, problem = time.perf_counter(), self._browser.busy, None
        try:
            yield
        except (Fault, httpx.HTTPError, KeyError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"[:300]
        self._note(Done(kind, time.perf_counter() - begun_s, self._browser.busy - busy, problem))

    def _question(self) -> str:
        return self._chance.choice(self._questions)

    def _ask(self, models: Sequence[str], conversation: str | None = None) -> tuple[str, str]:
        body = {"text": self._question(), "models": list(models), "conversation": conversation}
        ids = self._browser.post("/page/ask", body).json()
        if conversation is None:
            self._kept.append(ids["conversation"])
        return ids["conversation"], ids["exchange"]

    def _follow(self, conversation: str, *, lines: int | None = None) -> None:
        """Read an answer to its end, or some lines of it.

        :raises Fault: it ends otherwise than it should.
        """
        running, evidence, said, read = True, False, "", 0
        with self._browser.lines("GET", f"/page/follow/{conversation}") as stream:
            for line in stream:
                patch = json.loads(line)
                running = bool(patch.get("running", running))
                said = patch.get("say", said)
                evidence = evidence or bool(FIRST_PASSAGE.search(patch.get("evidence", "")))
                read += 1
                if read == lines:
                    return
        if running:
            raise Fault("the stream ended before the answer did")
        if said.startswith("No answer"):
            raise Fault(said)
        if not evidence:
            raise Fault("an answer without evidence")

    def _ask_on_page(self) -> None:
        with self._doing("ask on the page, whole answer"):
            conversation, self._last_exchange = self._ask([NAME])
            self._follow(conversation)

    def _ask_more(self) -> None:
        if not self._kept:
            return self._ask_on_page()
        with self._doing("ask a second question, whole answer"):
            _, self._last_exchange = self._ask([NAME], self._kept[-1])
            self._follow(self._kept[-1])

    def _quote(self) -> None:
        with self._doing("ask without a model, whole answer"):
            conversation, self._last_exchange = self._ask([""])
            self._follow(conversation)

    def _ask_api(self) -> None:
        messages = [{"role": "user", "content": self._question()}]
        body = {"model": NAME, "messages": messages, "stream": True}
        with (
            self._doing("ask the API, whole answer"),
            self._browser.lines("POST", "/v1/chat/completions", body) as stream,
        ):
            last = ""
            for last in stream:
                if '"error"' in last[:20]:
                    raise Fault(last)
            if last != "data: [DONE]":
                raise Fault("the stream ended before the answer did")

    def _search(self) -> None:
        with self._doing("search"):
            self._find()

    def _find(self) -> dict[str, Any]:
        """Return the first passage that is found."""
        found = self._browser.get("/api/search", query=self._question(), k=5).json()
        if not found["results"]:
            raise Fault("nothing was found")
        return dict(found["results"][0])

    def _read_file(self) -> None:
        with self._doing("search, read a file"):
            hit = self._find()
            place = {name: hit[name] for name in ("repo", "path", "commit")}
            lines = self._browser.get("/page/file", **place, start=1, end=400).json()["lines"]
            if not lines:
                raise Fault(f"{hit['path']} has no lines")

    def _leave_and_return(self) -> None:
        with self._doing("leave in the middle, return"):
            conversation, self._last_exchange = self._ask([NAME])
            self._follow(conversation, lines=3)
            self._browser.wait(self._chance.uniform(0, 2))
            self._follow(conversation)

    def _stop(self) -> None:
        with self._doing("stop an answer"):
            conversation, exchange = self._ask([NAME])
            self._browser.wait(self._chance.uniform(0, 2))
            self._browser.post("/page/stop", {"exchange": exchange})
            with self._browser.lines("GET", f"/page/follow/{conversation}") as stream:
                if json.loads(list(stream)[-1])["running"]:
                    raise Fault("an answer went on after it was stopped")

    def _reload(self) -> None:
        with self._doing("reload the page"):
            for path in ("/", "/config", "/page/start", "/page/conversations"):
                self._browser.get(path)

    def _rate(self) -> None:
        if not self._last_exchange or not self._kept:
            return self._quote()
        with self._doing("rate an answer"):
            body = {"exchange": self._last_exchange, "thumb": "up", "reason": "clear"}
            self._browser.post("/page/rate", body)

    def _compare_and_vote(self) -> None:
        with self._doing("compare two answers, vote"):
            conversation, exchange = self._ask([NAME, ""])
            self._follow(conversation)
            self._browser.post("/page/vote", {"exchange": exchange, "winner": "left"})

    def _export(self) -> None:
        if not self._kept:
            return self._quote()
        with self._doing("export a conversation"):
            if not self._browser.get(f"/page/export/{self._kept[-1]}").text.startswith("# "):
                raise Fault("an export that is no Markdown")
