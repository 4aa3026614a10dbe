"""The load, with a few people for a few seconds: the whole of it, in three processes."""

import argparse
import re
import subprocess
import sys

import pytest

from benchmarks.footprint import Footprint
from benchmarks.load import print_tables
from benchmarks.soak import ROOT


def test_ten_people_use_the_app_and_nothing_fails() -> None:
    options = ["--users", "10", "--minutes", "0.17", "--ramp", "2", "--pause", "0.5"]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *options, "--tokens", "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    done, took = re.findall(r"\|---\|\n((?:\|.*\n)*)", ran.stdout)
    assert len(done.splitlines()) >= 3  # kinds of things
    assert took.startswith("| pss |")


def test_the_tables_say_what_was_refused_and_what_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"kind": "search", "count": 1_200, "per_s": 2.0, "p50_ms": 9.6, "p99_ms": 80}
    came = {"rows": [{**row, "busy": 7, "errors": 1}], "problems": {"search: it broke": 1}}
    options = argparse.Namespace(users=200, minutes=10.0, pause=10.0, tokens=60)
    seen = [Footprint(9, 8, 7, 6), Footprint(5, 5, 5, 5)]
    print_tables(came, Footprint(1, 2, 3, 4), seen, options)
    out = capsys.readouterr().out
    assert "| search | 1,200 | 2.00 | 10 | 80 | 7 | 1 |" in out
    assert "| pss | 2 MB | 8 MB | 5 MB |" in out
    assert "- 1 × search: it broke" in out
