"""The command line: its help, what it prints for people, and what it prints for programs."""

import argparse
import importlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import commands
from app.cli import main, make_parser
from retrieval import CodeIndex, Progress
from tests.conftest import TINY_FILES
from tests.git_repositories import commit_files, head_of, make_repository
from tests.stub_openai import StubOpenAI

ROOT = Path(__file__).parents[2]
CODEQA = Path(sys.executable).with_name("codeqa")
HELP_S = 0.5
HEAVY = {"torch", "transformers", "sentence_transformers", "gradio", "langchain_core", "openai"}
HEAVY |= {"numpy", "pydantic", "faiss", "tantivy", "git", "tqdm"}
FIELDS = "rank score repo commit path start_line end_line symbol language url text".split()


def parsers(
    parser: argparse.ArgumentParser, prefix: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser of every command, and of the commands below it, by what is typed."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield f"{prefix}{name}", child
                yield from parsers(child, f"{prefix}{name} ")


PARSERS = dict(parsers(make_parser()))
COMMANDS = sorted(PARSERS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_an_example_and_does_something(command: str) -> None:
    parser = PARSERS[command]
    assert parser.description
    assert parser.epilog is not None and f"codeqa {command} " in parser.epilog
    if not dict(parsers(parser)):
        module, function = parser.get_default("run").args
        assert callable(getattr(importlib.import_module(module), function))
    for action in parser._actions:
        assert action.help or action.dest == "question", f"{command}: {action.dest} has no help"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_instant(command: str) -> None:
    def measure() -> float:
        began = time.perf_counter()
        done = subprocess.run(
            [CODEQA, *command.split(), "--help"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(f"usage: codeqa {command}".rstrip()) and not done.stderr
        return time.perf_counter() - began

    # The quickest of a few: other work on the machine is not ours to measure.
    assert any(measure() < HELP_S for _ in range(5))


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import sys
from app.cli import main
for command in {COMMANDS}:
    try:
        main([*command.split(), "--help"])
    except SystemExit:
        pass
print("imported:", *sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & {*done.stdout.rpartition("imported:")[2].split()}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("frobnicate", "invalid choice: 'frobnicate'"),
        ("search x -k 0", "must be a whole number of at least 1, not 0"),
        ("ask x -k -3", "must be a whole number of at least 1, not -3"),
        ("ask x -k many", "must be a whole number of at least 1, not many"),
        ("ask x --timeout 0", "must be a number above 0, not 0"),
        ("ask x --timeout soon", "must be a number above 0, not soon"),
        ("chat --port 70000", "must be a whole number up to 65535, not 70000"),
        ("search", "one of the arguments question --queries is required"),
        ("search x --queries y", "--queries: not allowed with argument question"),
        ("flatten .", "the following arguments are required: --out"),
        ("index --indx y", "unrecognized arguments: --indx"),
    ],
)
def test_wrong_usage_exits_with_two(
    arguments: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("usage: codeqa")
    assert problem in captured.err.splitlines()[-1]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("repos") / "limits", TINY_FILES)


@pytest.fixture(scope="module")
def folder(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An index made with the packaged model, as a user's is."""
    folder = tmp_path_factory.mktemp("index")
    CodeIndex.build([str(repo)], folder).close()
    yield folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds without a word on stderr prints."""
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_search_prints_where_the_lines_are_best_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(
        capsys, "search", "TokenBucket.take", "--index", str(folder), "-k", "2"
    ).splitlines()
    assert len(lines) == 2
    score, place, symbols = lines[0].split("  ")
    assert float(score) > float(lines[1].split()[0])
    assert place.startswith("limits/bucket.py:") and "TokenBucket" in symbols


def test_search_as_json_has_these_fields_in_this_order(
    folder: Path, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = records(run(capsys, "search", "How long to wait?", "--index", str(folder), "--json"))
    assert [list(record) for record in found] == [FIELDS] * len(found)
    assert [record["rank"] for record in found] == list(range(1, len(found) + 1))
    for record in found:
        assert (record["repo"], record["commit"]) == ("limits", head_of(repo))
        text = TINY_FILES[record["path"]].splitlines(keepends=True)
        assert record["text"] == "".join(text[record["start_line"] - 1 : record["end_line"]])
        assert record["url"] is None
    assert [record["score"] for record in found] == sorted(
        (record["score"] for record in found), reverse=True
    )


def test_search_may_be_narrowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["search", "token bucket", "--index", str(folder), "-k", "99", "--json"]
    found = records(run(capsys, *options, "--language", "python", "--language", "yaml"))
    assert {record["language"] for record in found} == {"python", "yaml"}
    found = records(run(capsys, *options, "--repo", "limits", "--path", "/limits/"))
    assert {record["path"] for record in found} == {"limits/bucket.py", "limits/middleware.py"}
    assert run(capsys, *options, "--path", "*.rs") == ""


def test_a_file_of_queries_adds_the_id_of_each(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = [
        {"id": "a", "query": "token bucket"},
        {"id": 7, "query": "Retry\u2028After\x0cheader", "note": "ignored"},
    ]
    lines = [json.dumps(query, ensure_ascii=False) for query in queries]
    (tmp_path / "q.jsonl").write_text("\ufeff" + "\n\n".join(lines) + "\r\n", "utf-8", newline="")
    options = ["--index", str(folder), "-k", "2", "--queries", str(tmp_path / "q.jsonl")]
    found = records(run(capsys, "search", "--json", *options))
    assert [list(record) for record in found] == [["id", *FIELDS]] * 4
    assert [(record["id"], record["rank"]) for record in found] == [
        *(("a", 1), ("a", 2)),
        *((7, 1), (7, 2)),
    ]
    first = run(capsys, "search", *options).splitlines()[0]
    assert first.startswith("a\t") and "limits/bucket.py:" in first


def test_queries_may_come_through_a_pipe(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"id": null, "query": "bucket"}\n'))
    found = records(
        run(capsys, "search", "--queries", "-", "--json", "-k", "1", "--index", str(folder))
    )
    assert [(record["id"], record["rank"]) for record in found] == [(None, 1)]


def test_ask_prints_an_answer_with_its_sources(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "Which class holds tokens and gains a rate of them a second?"
    assert main(["ask", question, "--index", str(folder)]) == 0
    captured = capsys.readouterr()
    text, _, sources = captured.out.partition("\n\nSources:\n")
    assert "TokenBucket" in text
    assert "limits/bucket.py" in sources
    assert captured.err == "(quoted from the code; see --llm)\n"


def test_ask_says_what_a_strategy_costs_before_and_what_it_came_to_after(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "What is the difference between TokenBucket and RateLimitMiddleware?"
    options = ["--index", str(folder), "--strategy"]
    assert main(["ask", question, *options, "sub-questions"]) == 0
    captured = capsys.readouterr()
    assert "**What is TokenBucket?**" in captured.out
    assert captured.err.splitlines()[:3] == [
        "(up to 4 searches, no model)",
        "1. What is TokenBucket?",
        "2. What is RateLimitMiddleware?",
    ]
    assert main(["ask", "What does TokenBucket do?", *options, "related", "-k", "1"]) == 0
    assert "Related questions:\n  - " in capsys.readouterr().out


def test_ask_says_which_claim_is_doubtful(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StubOpenAI(reply="`LeakyBucket` does [1:L6-L7].") as stub:
        options = ["--index", str(folder), "--llm", stub.url]
        assert main(["ask", "What does TokenBucket do?", *options]) == 0
    said = capsys.readouterr().err
    assert "doubtful: limits/bucket.py#L6-L7 does not hold LeakyBucket" in said


def test_ask_as_json_is_one_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StubOpenAI(reply="A `TokenBucket` does [1:L6-L7]. And more [9:L1].") as stub:
        options = ["--index", str(folder), "--json", "--llm", stub.url, "-k", "3"]
        [answer] = records(run(capsys, "ask", "What does TokenBucket do?", *options))
    assert list(answer) == [
        *("question", "text", "citations", "dropped", "doubts", "evidence", "steps", "related"),
        *("mode", "model", "abstained", "words_only", "usage"),
    ]
    assert (answer["mode"], answer["model"], answer["abstained"]) == ("model", "stub-model", False)
    assert answer["dropped"] == ["[9:L1]"]
    assert [list(record) for record in answer["evidence"]] == [FIELDS] * 3
    [citation] = answer["citations"]
    assert (citation["path"], citation["start_line"], citation["end_line"]) == (
        *("limits/bucket.py", 6, 7),
    )


def test_index_says_what_it_did_and_progress_goes_to_stderr(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(tmp_path / "index")
    assert main(["index", str(repo), "--index", where]) == 0
    first = capsys.readouterr()
    commit = head_of(repo)[:12]
    assert first.out.splitlines() == [
        f"limits @ {commit}: 7 files, 7 chunks, 0 files skipped",
        f"{where}: written, 7 chunks, 7 embedded",
    ]
    assert first.err.splitlines() == [
        "opening limits",
        "words can be searched now; embedding goes on",
    ]
    assert main(["index", "--index", where]) == 0
    assert capsys.readouterr().out.endswith(f"{where}: unchanged, 7 chunks, 0 embedded\n")


def test_uncommitted_changes_are_named(
    repo: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repo / "draft.py").write_text("draft = 1\n")
    try:
        assert main(["index", "--index", str(folder)]) == 0
    finally:
        (repo / "draft.py").unlink()
    assert "1 new or changed file is not committed" in capsys.readouterr().err


@pytest.fixture
def words(repo: Path, tmp_path: Path) -> Path:
    """An index whose vectors are not made yet."""

    def stop(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CodeIndex.build([str(repo)], tmp_path / "words", report=stop)
    return tmp_path / "words"


def test_a_search_without_vectors_says_so(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "bucket", "--index", str(words)]) == 0
    captured = capsys.readouterr()
    assert "limits/bucket.py" in captured.out
    assert captured.err == "(by words alone: vectors are not made yet)\n"


def test_a_reader_that_has_had_enough_is_no_error(words: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"id": n, "query": "token bucket"}) for n in range(500)]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    child = subprocess.Popen(
        [CODEQA, "search", "--json", "--index", words, "--queries", tmp_path / "q.jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline().startswith('{"id": 0, "rank": 1,')
    child.stdout.close()
    assert (child.stderr.read(), child.wait(60)) == ("", 0)
    child.stderr.close()


def test_output_fits_a_terminal_that_knows_only_ascii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repository(tmp_path / "repo", {"café.md": "# Größe\n\nGröße › alles\n"})
    CodeIndex.build([str(repo)], tmp_path / "index").close()
    for options in ([], ["--json"]):
        output = io.TextIOWrapper(io.BytesIO(), "ascii")
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["search", "größe", "--index", str(tmp_path / "index"), *options]) == 0
        output.seek(0)
        text = output.read()
        assert json.loads(text)["path"] == "café.md" if options else "caf\\xe9.md:1-3" in text


def test_what_a_repository_holds_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "# Title \x1b[2J\n\nThe dancing bees \x1b]0;owned\x07 are yellow.\n"
    repo = make_repository(tmp_path / "repo", {"bees.md": text})
    CodeIndex.build([str(repo)], tmp_path / "index").close()
    where = ["--index", str(tmp_path / "index")]
    for command in ("search", "ask"):
        assert main([command, "What colour are the dancing bees?", *where]) == 0
        output = capsys.readouterr().out
        assert "bees" in output and "\x1b" not in output and "\x07" not in output
    assert main(["status", "--index", "\x1b[2J"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_flatten_writes_a_corpus(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flatten", str(repo), "--out", str(tmp_path / "corpus")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'corpus' / 'limits'}: 7 files, 0 skipped\n"


def test_chat_keeps_an_index_for_each_set_of_repositories(tmp_path: Path) -> None:
    one = commands._folder_for(["https://github.com/ada/limits"])
    assert one == commands._folder_for(["https://ada:secret@github.com/ada/limits@main"])
    assert one != commands._folder_for(["https://github.com/bob/limits"])
    assert one.name.startswith("limits-") and one.is_relative_to(tmp_path)
    both = ["https://github.com/ada/limits", "https://github.com/ada/web"]
    assert (
        commands._folder_for(both).name.split("-")[1]
        == commands._folder_for(both[::-1]).name.split("-")[1]
    )


def test_an_index_may_be_named_once_for_all(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQA_INDEX", str(folder))
    assert "limits/bucket.py" in run(capsys, "search", "bucket")


def test_a_new_commit_is_found_after_an_update(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = make_repository(tmp_path / "repo", {"a.py": "alpha = 1\n"})
    where = ["--index", str(tmp_path / "index")]
    assert main(["index", str(repo), *where]) == 0
    commit_files(repo, {"b.py": "quasar = 1\n"})
    assert main(["index", *where]) == 0
    capsys.readouterr()
    assert "b.py:1-1" in run(capsys, "search", "quasar", "-k", "1", *where)
