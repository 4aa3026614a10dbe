"""Many people at once, in a process of their own: run by `benchmarks.load`, through locust.

locust makes of each a greenlet of gevent, which changes Python's own library as it is imported: so
neither of them may ever be imported where the app runs, or in the tests. Reads what to do as JSON
from standard input and prints what came of it as JSON.
"""

import json
import random
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import gevent
from locust import User, task  # changes sockets and threads, so it comes before what uses them
from locust.env import Environment

from benchmarks.keeper import Keeper
from benchmarks.people import Browser, Done, Person

MAX_PROBLEMS = 50  # different ones that are reported


@dataclass(frozen=True)
class Task:
    """What to do.

    :param kept: folders of repositories, each kept by one of the people.
    :param ramp_s: until all have come.
    :param pause_s: the mean between two things that one of them does.
    """

    url: str
    kept: list[str]
    questions: list[str]
    people: int
    seconds: float
    ramp_s: float
    pause_s: float


@dataclass(frozen=True)
class Row:
    """What came of one kind of thing; times in milliseconds, from the first try.

    :param busy: how often it was answered with 429.
    """

    kind: str
    count: int
    per_s: float
    p50_ms: float
    p99_ms: float
    busy: int
    errors: int


def main() -> int:
    """Use the app for as long as it is said."""
    rows, problems = use(Task(**json.load(sys.stdin)))
    json.dump({"rows": [asdict(row) for row in rows], "problems": problems}, sys.stdout)
    return 0


def use(what: Task) -> tuple[list[Row], dict[str, int]]:
    """Let people use the app; return what came of each kind of thing, and how often what failed."""
    environment = Environment()
    busy: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    numbers = count()

    def note(done: Done) -> None:
        busy[done.kind] += done.busy
        if done.problem and (done.problem in problems or len(problems) < MAX_PROBLEMS):
            problems[f"{done.kind}: {done.problem}"] += 1
        environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="",
            name=done.kind,
            response_time=1000 * done.seconds,
            response_length=0,
            exception=RuntimeError(done.problem) if done.problem else None,
            context={},
        )

    class Visitor(User):
        """One of them; the first ones keep a repository each."""

        def on_start(self) -> None:
            number = next(numbers)
            browser = Browser(what.url, threading.Event())
            self.person = (
                Keeper(browser, what.questions, note, Path(what.kept[number]), seed=number)
                if number < len(what.kept)
                else Person(browser, what.questions, note, seed=number)
            )

        def wait_time(self) -> float:
            return random.uniform(0, 2 * what.pause_s)

        @task
        def act(self) -> None:
            self.person.act()

    environment.user_classes = [Visitor]
    runner = environment.create_local_runner()
    runner.start(what.people, spawn_rate=what.people / max(what.ramp_s, 1))
    gevent.sleep(what.seconds)
    runner.quit()
    entries = sorted(environment.stats.entries.values(), key=lambda entry: str(entry.name))
    rows = [
        Row(
            str(entry.name),
            entry.num_requests,
            entry.num_requests / what.seconds,
            entry.get_response_time_percentile(0.5),
            entry.get_response_time_percentile(0.99),
            busy[str(entry.name)],
            entry.num_failures,
        )
        for entry in entries
    ]
    return rows, dict(problems.most_common())


if __name__ == "__main__":
    sys.exit(main())
