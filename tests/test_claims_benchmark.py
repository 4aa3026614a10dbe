"""The benchmark of doubted claims: true ones pass, swapped names are caught."""

import json
from pathlib import Path

import pytest

from benchmarks.claims import main
from tests.app.library import build_library


def test_true_claims_pass_and_most_false_ones_are_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_library(tmp_path / "code", tmp_path / "index").close()
    questions = tmp_path / "questions.jsonl"
    asked = ("What does TokenBucket do?", "What keeps counters in Redis?")
    questions.write_text(
        "".join(
            json.dumps({"id": str(n), "query": query, "files": ["bucket.py"]}) + "\n"
            for n, query in enumerate(asked)
        )
    )
    assert main([str(questions), "--index", str(tmp_path / "index")]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    doubted = {row[0].strip("| "): (int(row[1]), int(row[2])) for row in rows}
    assert doubted["quotations"][0] > 0
    assert doubted["quotations"][1] == doubted["sentences"][1] == 0
    number, caught = doubted["sentences, a name swapped"]
    assert caught >= number / 2 > 0


def test_without_an_index_it_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"id": "1", "query": "Why?", "files": ["a"]}\n')
    assert main([str(questions), "--index", str(tmp_path)]) == 1
    assert "run `codeqa index` first" in capsys.readouterr().err
