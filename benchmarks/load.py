"""How the app bears more people than it can answer at once: whether it fails, or says so and lives.

    python -m benchmarks.load --users 200 --minutes 10

`codeqa chat` runs in a process of its own, over a temporary index, with a model's stub; the people
in another (`benchmarks.load_users`). They ask on the page and through the API, search, read files,
vote, stop answers, reload; one in fifty adds, updates and removes a repository. Whoever is told 429
waits as long as it says, and asks again: that is counted, and is part of the time, but is no error.

Prints Markdown; returns 1 where anything failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.footprint import Footprint, measure
from benchmarks.scene import Scene, set_scene
from benchmarks.soak import ROOT

LOOK_S = 2.0  # between two looks at what the app takes
PEOPLE_A_KEEPER = 50  # of whom one keeps a repository
END_S = 120.0  # at most, until the people have gone


def main(arguments: Sequence[str] | None = None) -> int:
    """Let people use the app; print what came of it, and return 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.load", description=__doc__)
    parser.add_argument("--users", type=int, default=200, help="people at once")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--ramp", type=float, default=60.0, help="seconds until all have come")
    parser.add_argument("--pause", type=float, default=10.0, help="mean seconds between two things")
    parser.add_argument("--tokens", type=int, default=60, help="of an answer")
    parser.add_argument("--repository", type=Path, default=ROOT, help="whose files are asked about")
    options = parser.parse_args(arguments)
    keepers = max(1, options.users // PEOPLE_A_KEEPER)
    with (
        tempfile.TemporaryDirectory(prefix="codeqa-load-") as work,
        set_scene(options.repository, Path(work), keepers=keepers, tokens=options.tokens) as scene,
    ):
        before = measure(scene.app.process)
        with watch(scene.app.process) as seen:
            came = send_people(scene, options)
        alive = psutil.pid_exists(scene.app.process)
        faults = [line for line in scene.log().splitlines() if "Error" in line]
    print_tables(came, before, seen, options)
    for fault in sorted(set(faults))[:20]:
        print(f"- {faults.count(fault)} × in the app's log: {fault}")
    if not alive:
        print("- the app has died")
    failed = faults or came["problems"] or not alive or any(row["errors"] for row in came["rows"])
    return 1 if failed else 0


def send_people(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Run the people; return what they report."""
    seconds = 60 * options.minutes
    what = {
        "url": scene.app.url,
        "kept": [str(folder) for folder in scene.kept],
        "questions": list(scene.questions),
        "people": options.users,
        "seconds": seconds,
        "ramp_s": min(options.ramp, seconds / 2),
        "pause_s": options.pause,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load_users"],
        input=json.dumps(what),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=seconds + END_S,
    )
    return dict(json.loads(done.stdout))


@contextmanager
def watch(process_id: int) -> Iterator[list[Footprint]]:
    """Measure a process every `LOOK_S` seconds.

    :yields: what it took, which grows until the end.
    """
    seen: list[Footprint] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_S) and psutil.pid_exists(process_id):
            seen.append(measure(process_id))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def print_tables(
    came: dict[str, Any], before: Footprint, seen: Sequence[Footprint], options: argparse.Namespace
) -> None:
    """Print what was done and what it took, as Markdown."""
    print(
        f"{options.users} people for {options.minutes:g} minutes, {options.pause:g} s between two "
        f"things on average; answers of {options.tokens} tokens, 20 a second.\n\n"
        "| what | count | a second | p50, ms | p99, ms | 429s | errors |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in came["rows"]:
        print(
            f"| {row['kind']} | {row['count']:,} | {row['per_s']:.2f} | {row['p50_ms']:,.0f} | "
            f"{row['p99_ms']:,.0f} | {row['busy']:,} | {row['errors']} |"
        )
    print("\n| the app | before | most | at the end |\n|---|---|---|---|")
    for name, unit in (("pss_mb", " MB"), ("rss_mb", " MB"), ("threads", ""), ("open_files", "")):
        figures = [getattr(each, name) for each in (before, *seen)]
        words = name.removesuffix("_mb").replace("_", " ")
        most, last = max(figures), figures[-1]
        print(f"| {words} | {figures[0]:,.0f}{unit} | {most:,.0f}{unit} | {last:,.0f}{unit} |")
    print()
    for problem, number in came["problems"].items():
        print(f"- {number} × {problem}")


if __name__ == "__main__":
    sys.exit(main())
