"""`codeqa eval make-questions`: the set, and the corpus it is asked of."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.cli_eval import PAIR_KINDS
from app.make_questions import MARKER, choose_questions
from data_tools.pairs import KINDS, Pair, mine_pairs
from data_tools.sources import SourceFile, open_source
from retrieval.questions import read_questions
from tests.conftest import TINY_FILES
from tests.git_repositories import MakeRepo, commit_files

CHANGED = {
    "limits/bucket.py": TINY_FILES["limits/bucket.py"].replace("max(0.0,", "max(0.5,"),
    "tests/test_bucket.py": "def test_seconds_until_there_are_enough():\n"
    "    assert TokenBucket(1, 1).seconds_until()\n",
}
SUBJECT = "Wait half a second at the least"


@pytest.fixture
def repo(tiny_repo: Path) -> Path:
    """The tiny repository with a commit that says what it changed, and a test likewise."""
    commit_files(tiny_repo, CHANGED, SUBJECT)
    return tiny_repo


def make(repo: Path, tmp_path: Path, *options: str) -> tuple[list[dict[str, Any]], Path]:
    out, corpus = tmp_path / "made/questions.jsonl", tmp_path / "corpus"
    command = ["eval", "make-questions", str(repo), "--out", str(out), "--corpus", str(corpus)]
    assert main([*command, *options]) == 0
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()], corpus


def test_the_set_can_be_measured_with(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, _ = make(repo, tmp_path, "--unanswerable", "0.01", "--limit", "50")
    counts = Counter(record["kind"] for record in records)
    assert {"docstring", "rewrite", "heading"} <= set(counts)
    printed = capsys.readouterr()
    for kind, number in counts.items():
        assert f"{kind}: {number}\n" in printed.out
    assert "questions.jsonl: " in printed.out and "reading limits" in printed.err
    questions = read_questions(tmp_path / "made/questions.jsonl")
    assert [question.query for question in questions] == [record["query"] for record in records]


def test_no_question_stands_in_the_corpus_and_its_gold_keeps_its_place(
    repo: Path, tmp_path: Path
) -> None:
    records, corpus = make(repo, tmp_path)
    files = {str(file.relative_to(corpus)): file.read_text("utf-8") for file in corpus.rglob("*.*")}
    assert set(TINY_FILES) <= set(files)
    text = " ".join("\n".join(files.values()).split())
    for record in records:
        assert record["query"] not in text
        for path, start, end in record["lines"]:
            assert record["files"] == [path]
            assert 1 <= start <= end <= files[path].count("\n")
    by_kind = {record["kind"]: record for record in records}
    path, start, _ = by_kind["docstring"]["lines"][0]
    original = (repo / path).read_text("utf-8").split("\n")
    assert files[path].split("\n")[start - 1] == original[start - 1] != ""


def test_a_commit_and_a_test_are_asked_and_the_test_s_own_line_is_blank(
    repo: Path, tmp_path: Path
) -> None:
    (asked,), corpus = make(repo, tmp_path, "--kinds", "commit", "--unanswerable", "0")
    assert asked["query"] == SUBJECT
    assert "test_seconds" in (corpus / "tests/test_bucket.py").read_text("utf-8")
    (asked,), corpus = make(repo, tmp_path, "--kinds", "test", "--unanswerable", "0")
    assert asked["query"] == "seconds until there are enough"
    assert (corpus / "tests/test_bucket.py").read_text("utf-8").startswith("\n    assert")


def test_unanswerable_questions_name_what_is_nowhere(repo: Path, tmp_path: Path) -> None:
    records, _ = make(repo, tmp_path, "--limit", "10", "--unanswerable", "0.4")
    absent = [record for record in records if not record["answerable"]]
    assert 0 < len(absent) <= 4
    for record in absent:
        assert (record["kind"], record["files"], record["lines"]) == ("unanswerable", [], [])


def test_the_same_seed_gives_the_same_bytes_and_another_another_choice(
    repo: Path, tmp_path: Path
) -> None:
    options = ("--limit", "4", "--seed")
    first, again, other = (make(repo, tmp_path, *options, seed)[0] for seed in "001")
    assert first == again != other
    assert len(first) == len({record["id"] for record in first}) == 4


def pair(query: str, kind: str, path: str, line: int) -> Pair:
    return Pair(query, kind, "repo", path, line, line + 1, f"at{line}")


def test_the_choice_is_even_over_kinds_and_files() -> None:
    pairs = [pair(f"docstring number {n}", "docstring", "large.py", 10 * n) for n in range(50)]
    pairs += [pair(f"other number {n}", "docstring", f"small{n}.py", 1) for n in range(3)]
    pairs += [pair(f"heading number {n}", "heading", "page.md", 10 * n) for n in range(4)]
    chosen = choose_questions(pairs, [], 8, random.Random(0))
    assert Counter(question.kind for question in chosen) == {"docstring": 4, "heading": 4}
    asked = [question.pairs[0].path for question in chosen if question.kind == "docstring"]
    assert sorted(asked) == ["large.py", "small0.py", "small1.py", "small2.py"]


def test_a_place_is_asked_for_once_and_a_question_with_two_places_is_one() -> None:
    pairs = [pair("a docstring", "docstring", "a.py", 1), pair("a rewrite?", "rewrite", "a.py", 1)]
    pairs += [pair("a commit", "commit", "b.py", 1), pair("a commit", "commit", "c.py", 1)]
    chosen = choose_questions(pairs, [], 9, random.Random(0))
    assert [len(question.pairs) for question in chosen] == [1, 2]


def test_a_question_that_stands_elsewhere_is_left_out(make_repo: MakeRepo) -> None:
    code = 'def lid():\n    """Open the box with a key."""\n    return 1\n'
    code += '\n\ndef cover():\n    """Open the crate with a key."""\n    return 1\n'
    page = "# Boxes\n\nopen the BOX, with\na key.\n"
    snapshot = open_source(str(make_repo({"box.py": code, "page.md": page})))
    files = [file for file in snapshot.files() if isinstance(file, SourceFile)]
    pairs = list(mine_pairs(snapshot, kinds=["docstring"]))
    chosen = choose_questions(pairs, files, 9, random.Random(0))
    assert [question.query for question in chosen] == ["Open the crate with a key"]


def test_what_was_written_before_is_replaced_whole(repo: Path, tmp_path: Path) -> None:
    _, corpus = make(repo, tmp_path)
    (corpus / "left-over.py").write_text("a = 1\n")
    make(repo, tmp_path)
    assert not (corpus / "left-over.py").exists()
    assert sorted(file.name for file in tmp_path.iterdir() if "corpus" in file.name) == ["corpus"]
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["questions.jsonl"]


def fail(repo: Path, out: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> str:
    command = ["eval", "make-questions", str(repo), "--out", str(out), "--corpus", str(corpus)]
    assert main(command) == 1
    return capsys.readouterr().err


def test_a_folder_that_is_no_corpus_is_not_replaced(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "mine"
    corpus.mkdir()
    (corpus / "thesis.txt").write_text("years of work")
    assert "choose another folder" in fail(repo, tmp_path / "q.jsonl", corpus, capsys)
    assert (corpus / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "q.jsonl").exists()
    (corpus / "thesis.txt").unlink()
    assert "outside" in fail(repo, corpus / "q.jsonl", corpus, capsys)
    assert "is a folder" in fail(repo, tmp_path, corpus, capsys)


def test_nothing_is_written_if_one_of_the_two_cannot_be(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    corpus = tmp_path / "corpus"
    assert "cannot write to" in fail(repo, tmp_path / "file/q.jsonl", corpus, capsys)
    assert not corpus.exists()
    assert not list(tmp_path.glob(".*corpus*"))


def test_a_repository_with_nothing_to_ask_about_says_so(
    make_repo: MakeRepo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = make_repo({"a.py": "a = 1\n"}, "bare")
    printed = fail(bare, tmp_path / "q.jsonl", tmp_path / "corpus", capsys)
    assert "holds nothing to ask about" in printed
    assert printed.count("codeqa: ") == 1


def test_a_notebook_is_written_as_the_text_that_stands_for_it(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    cells = [{"cell_type": "markdown", "source": "# Boxes"}]
    code = 'def lid():\n    """Open the box with a key."""\n    return 1\n'
    files = {"a.ipynb": json.dumps({"nbformat": 4, "cells": cells}), "box.py": code}
    _, corpus = make(make_repo(files), tmp_path)
    assert (corpus / "a.ipynb.md").read_text() == "# Boxes\n"
    assert {file.name for file in corpus.iterdir()} == {"a.ipynb.md", "box.py", MARKER}


def test_the_command_line_offers_every_kind() -> None:
    assert PAIR_KINDS == KINDS  # kept apart so that help need not load the parsers


@pytest.mark.parametrize("option", [("--unanswerable", "1"), ("--seed", "-1"), ("--kinds", "all")])
def test_wrong_options_are_refused(option: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["eval", "make-questions", ".", "--out", "q", "--corpus", str(tmp_path), *option])
    assert exited.value.code == 2
