"""What hours of use do to the app: whether its memory grows, it gets slower, or anything fails.

    python -m benchmarks.soak --hours 2 --out soak/
    python -m benchmarks.soak --report soak/samples.jsonl

`codeqa chat` runs in a process of its own, over a temporary index, with a model's stub. A few
people chat on the page, search, ask the API, stop answers, reload; one of them adds a repository,
commits to it, updates and removes it, again and again. They are so few that an idle machine stays
idle: what is looked for is what time does, not what load does.

Every 30 seconds a line is added to `samples.jsonl`: what the app takes of the machine, and how long
each thing took. At the end, after Ctrl-C, or from what an interrupted run left (`--report`), the
first hour is printed beside the last as Markdown, and `memory.svg` is drawn. Returns 1 where
anything failed.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.footprint import MB, folder_mb, measure
from benchmarks.keeper import Keeper
from benchmarks.people import Browser, Done, Ended, Person
from benchmarks.scene import Scene, set_scene
from benchmarks.soak_report import draw_memory, print_report, read_samples

SAMPLE_S = 30.0
ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Use the app for a while, or report on what was measured; 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--people", type=int, default=5, help="one of them keeps a repository")
    parser.add_argument("--pause", type=float, default=10.0, help="mean seconds between two things")
    parser.add_argument("--sample", type=float, default=SAMPLE_S, help="seconds between samples")
    parser.add_argument("--repository", type=Path, default=ROOT, help="whose files are asked about")
    parser.add_argument("--out", type=Path, default=Path("soak"), metavar="DIR")
    parser.add_argument("--report", type=Path, metavar="FILE", help="of samples; nothing is run")
    options = parser.parse_args(arguments)
    file = options.report or options.out / "samples.jsonl"
    if not options.report:
        options.out.mkdir(parents=True, exist_ok=True)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        with (
            tempfile.TemporaryDirectory(prefix="codeqa-soak-") as work,
            set_scene(options.repository, Path(work), keepers=1) as scene,
        ):
            soak(scene, file, options, ended)
    samples = read_samples(file)
    draw_memory(samples, file.with_name("memory.svg"))
    return print_report(samples)


def soak(scene: Scene, file: Path, options: argparse.Namespace, ended: threading.Event) -> None:
    """Let people use the app until the time is over or `ended` is set; write samples."""
    done: list[Done] = []  # since the last sample; lists are safe to append to
    with file.open("w") as out:
        threads = [
            threading.Thread(target=_live, args=(scene, number, done, ended, options.pause))
            for number in range(options.people)
        ]
        for thread in threads:
            thread.start()
        begun_s, log = time.monotonic(), 0
        while (now_s := time.monotonic() - begun_s) < options.hours * 3600 and not ended.is_set():
            ended.wait(min(options.sample, options.hours * 3600 - now_s))
            new, log = scene.log()[log:], len(scene.log())
            count = len(done)
            sample = _sample(scene, time.monotonic() - begun_s, done[:count], new)
            del done[:count]
            out.write(json.dumps(sample) + "\n")
            out.flush()
            if not psutil.pid_exists(scene.app.process):
                break
        ended.set()
        for thread in threads:
            thread.join()


def _live(
    scene: Scene, number: int, done: list[Done], ended: threading.Event, pause_s: float
) -> None:
    """Be one person until there is no time left."""
    browser, chance = Browser(scene.app.url, ended), random.Random(number)
    if number == 0:
        person: Person = Keeper(browser, scene.questions, done.append, scene.kept[0], seed=number)
    else:
        person = Person(browser, scene.questions, done.append, seed=number)
    with closing(browser), suppress(Ended):
        while True:
            browser.wait(chance.uniform(0, 2 * pause_s))
            try:
                person.act()
            except Exception as error:
                if not isinstance(error, Ended):  # a bug of these people's is not to go unseen
                    done.append(Done("act", 0.0, problem=repr(error)))
                raise


def _sample(scene: Scene, now_s: float, done: Sequence[Done], log: str) -> dict[str, Any]:
    """What is so now; a process that has died takes nothing, and that is a problem."""
    problems = [f"{each.kind}: {each.problem}" for each in done if each.problem]
    problems += [f"log: {line}" for line in log.splitlines() if "Error" in line]
    footprint: dict[str, float] = {}
    try:
        footprint = asdict(measure(scene.app.process))
    except psutil.Error as error:
        problems.append(f"the app is gone: {error}")
    milliseconds: dict[str, list[int]] = {}
    for each in done:
        milliseconds.setdefault(each.kind, []).append(round(each.seconds * 1000))
    return {
        "s": round(now_s, 1),
        "app": footprint,
        "all_processor_s": measure(os.getpid()).processor_s,  # of these people and the stub, too
        "index_mb": folder_mb(scene.index),
        "history_mb": sum(file.stat().st_size for file in scene.history) / MB,
        "busy": sum(each.busy for each in done),
        "ms": milliseconds,
        "problems": problems,
    }


if __name__ == "__main__":
    sys.exit(main())
