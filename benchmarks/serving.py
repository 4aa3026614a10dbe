"""How soon the app answers, alone and with fifty people at once.

    python -m benchmarks.serving --index DIR --questions FILE

`codeqa chat` is started as a person would, in a process of its own, with a model that streams at a
steady rate in another (`benchmarks.serving_stub`): what is measured is the app, not a model.

1. From Enter to the evidence in the page, in Chromium: conversations begun one after the other.
2. What the app adds to the model's time to its first token: each question is asked of the app and
   of the model directly, and the difference is taken.
3. Many people at once, through the API and through the page's own routes: each asks, reads the
   answer to its end, and asks again. They begin at different moments of an answer's length.

Prints Markdown, and 1 is returned where a figure is missed. An index of 100,000 passages is left by
`python -m benchmarks.scale --sizes 100000 --work DIR`, in DIR/100000/index.
"""

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.serving_client import Ask, Asked, ask_api, ask_page
from benchmarks.serving_stub import NAME
from retrieval.questions import read_questions

EVIDENCE_S, ADDED_S, ADDED_TOGETHER_S = 0.150, 0.050, 0.300  # to reach, at the 95th percentile
FIRST_TOKEN_S = 0.2  # of the stub
WARM_UP = 5  # questions
START_S = 120.0  # at most, until the app is up
TIME_EVIDENCE = """() => {
    window.timed = new Promise((done) => {
        document.addEventListener("keydown", (event) => {
            const start = performance.now();
            new MutationObserver((_, watch) => {
                if (!document.querySelector("#evidence #a1p1")) return;
                watch.disconnect();
                done((performance.now() - start) / 1000);
            }).observe(document.querySelector("#evidence"), { childList: true, subtree: true });
        }, { capture: true, once: true });
    });
}"""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param seconds: one a question.
    :param limit_s: the figure to reach, at the 95th percentile.
    """

    what: str
    seconds: Sequence[float]
    limit_s: float
    errors: int = 0
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the figure is reached, and by answers that are all whole."""
        return not self.errors and percentile(self.seconds, 95) <= self.limit_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a figure is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=__doc__)
    parser.add_argument("--index", type=Path, required=True, metavar="DIR")
    parser.add_argument("--questions", type=Path, required=True, metavar="FILE")
    parser.add_argument("--count", type=int, default=100, help="questions asked one by one")
    parser.add_argument("--users", type=int, default=50, help="people at once")
    parser.add_argument("--rounds", type=int, default=4, help="questions each of them asks")
    parser.add_argument("--rate", type=float, default=20.0, help="the model's tokens a second")
    parser.add_argument("--tokens", type=int, default=100, help="of an answer")
    parser.add_argument("--no-browser", action="store_true", help="leave Chromium out")
    options = parser.parse_args(arguments)
    questions = [question.query for question in read_questions(options.questions)]
    random.Random(0).shuffle(questions)
    rows: list[Row] = []
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = stack.enter_context(serve_stub(options.tokens, options.rate))
        app = stack.enter_context(serve_app(options.index, model, work))
        for question in questions[:WARM_UP]:
            asyncio.run(ask_page(app.url, question, NAME))
        some = questions[: options.count]
        if not options.no_browser:
            seconds = time_evidence(app.url, some)
            rows.append(Row("evidence on the page, Chromium", seconds, EVIDENCE_S))
        rows.append(measure_added(app.url, model, some))
        direct = asyncio.run(ask_together(ask_api, model, questions, options))
        for way, ask in (("the API", ask_api), ("the page", ask_page)):
            before_s = app.processor_s()
            asked = asyncio.run(ask_together(ask, app.url, questions, options))
            used_s = app.processor_s() - before_s
            what = f"{options.users} people at once, through {way}: added to the first token"
            rows.append(compare_together(what, asked, direct, used_s, options.tokens))
    print_table(rows)
    return 0 if all(row.reached for row in rows) else 1


@dataclass(frozen=True)
class App:
    """The app that is measured."""

    url: str
    process: int

    def processor_s(self) -> float:
        """Read how many seconds of a processor it has used so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve_stub(tokens: int, rate: float) -> Iterator[str]:
    """Run the stub in a process of its own.

    :yields: its URL.
    """
    words = ["--tokens", str(tokens), "--rate", str(rate), "--first", str(FIRST_TOKEN_S)]
    command = [sys.executable, "-m", "benchmarks.serving_stub", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def serve_app(index: Path, model: str, work: Path) -> Iterator[App]:
    """Run `codeqa chat` in a process of its own, until it can be asked.

    :param work: a folder for its conversations and what it prints.
    """
    log = work / "chat.log"
    run = "import sys; from app.cli import main; sys.exit(main())"
    options = ["--llm", model, "--history", str(work / "conversations.sqlite")]
    options += ["--rate-limit", "none"]  # all those people come from one address
    command = [sys.executable, "-c", run, "chat", "--index", str(index), *options]
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*command, "--port", "0", "--no-browser"], stdout=out, stderr=out
        ) as process,
    ):
        try:
            yield App(_wait_for_url(log, process), process.pid)
        finally:
            process.terminate()


def _wait_for_url(log: Path, process: "subprocess.Popen[bytes]") -> str:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        if found := re.search(r"Ask at (http://\S+)", log.read_text("utf-8")):
            return found[1]
        time.sleep(0.1)
    raise SystemExit(f"the app did not start:\n{log.read_text('utf-8')}")


def time_evidence(url: str, questions: Sequence[str]) -> list[float]:
    """Ask on the page; return the seconds from Enter to the evidence being there."""
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        for question in tqdm(questions, unit=" questions", disable=None):
            page.goto(url)
            page.wait_for_selector("#ask:enabled")
            page.evaluate(TIME_EVIDENCE)
            page.fill("#ask", question)
            page.press("#ask", "Enter")
            seconds.append(float(page.evaluate("window.timed")))
        browser.close()
    return seconds


def measure_added(url: str, model: str, questions: Sequence[str]) -> Row:
    """Ask the app and the model in turn; what the app takes more is what it adds."""

    async def measure() -> tuple[list[float], int]:
        added, errors = [], 0
        for question in tqdm(questions, unit=" questions", disable=None):
            direct = await ask_api(model, question, NAME, first_text=True)
            through = await ask_api(url, question, NAME, first_text=True)
            errors += through.problem is not None
            if through.asked_model and through.first_text_s and direct.first_text_s:
                added.append(through.first_text_s - direct.first_text_s)
        return added, errors

    added, errors = asyncio.run(measure())
    note = f"{len(added)} of {len(questions)} questions had evidence to ask a model about"
    return Row("added to the first token, one at a time", added, ADDED_S, errors, note)


async def ask_together(
    ask: Ask, url: str, questions: Sequence[str], options: argparse.Namespace
) -> list[Asked]:
    """Have many people ask, each one question after the other."""
    chance = random.Random(1)
    length_s = FIRST_TOKEN_S + options.tokens / options.rate

    async def be_a_person(number: int) -> list[Asked]:
        await asyncio.sleep(chance.uniform(0, length_s))
        asked = []
        for turn in range(options.rounds):
            question = questions[(number * options.rounds + turn) % len(questions)]
            asked.append(await _ask_safely(ask, url, question))
        return asked

    people = await asyncio.gather(*(be_a_person(number) for number in range(options.users)))
    return [asked for person in people for asked in person]


async def _ask_safely(ask: Ask, url: str, question: str) -> Asked:
    try:
        return await ask(url, question, NAME)
    except (OSError, TimeoutError, ValueError) as error:
        return Asked(problem=f"{type(error).__name__}: {error}")


def compare_together(
    what: str, asked: Sequence[Asked], direct: Sequence[Asked], used_s: float, tokens: int
) -> Row:
    """Compare the times to the first token with those of the model itself, as busy."""
    usual_s = float(np.median([each.first_text_s for each in direct if each.first_text_s]))
    times = [each for each in asked if each.asked_model and each.first_text_s is not None]
    problems = [each.problem for each in asked if each.problem]
    for problem in sorted(set(problems))[:3]:
        print(f"{what}: {problem[:300]}", file=sys.stderr)
    added = [each.first_text_s - usual_s for each in times if each.first_text_s is not None]
    per_token_ms = 1e3 * used_s / max(1, len(times) * tokens)
    note = f"{len(asked)} answers; {per_token_ms:.2f} ms of processor time a token, search included"
    return Row(what, added, ADDED_TOGETHER_S, len(problems), note)


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return a percentile, or infinity where nothing was measured."""
    return float(np.percentile(seconds, share)) if seconds else float("inf")


def print_table(rows: Sequence[Row]) -> None:
    """Print one line a measurement, in milliseconds."""
    print("| what | median, ms | p95, ms | at most, ms | errors | |")
    print("|---|---|---|---|---|---|")
    milliseconds: Callable[[float], str] = lambda seconds: f"{seconds * 1e3:.0f}"  # noqa: E731
    for row in rows:
        middle, most = (milliseconds(percentile(row.seconds, share)) for share in (50, 95))
        verdict = "" if row.reached else " **missed**"
        print(f"| {row.what} | {middle} | {most}{verdict} | {milliseconds(row.limit_s)} |", end="")
        print(f" {row.errors} | {row.note} |")


if __name__ == "__main__":
    sys.exit(main())
