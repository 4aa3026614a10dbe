"""`codeqa eval retrieval`: what it prints for people and programs, writes, and refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from retrieval import CodeIndex, Progress
from retrieval.evaluate import METRICS, RANKS
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo, make_repository

LEXICAL = ("--mode", "lexical")
RECORDS: list[dict[str, Any]] = [
    {
        "id": "take",
        "query": "take tokens from the bucket",
        "lines": [["limits/bucket.py", 15, 21]],
        "answer": "take",
    },
    {"id": "wait", "query": "fetch a page and wait", "files": ["web/client.ts"], "kind": "code"},
    {"id": "class", "query": "refuses requests", "answer": "RateLimitMiddleware"},
    {"id": "no", "query": "sign cookies", "answerable": False},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An index made with the packaged model, as a user's is."""
    repo = make_repository(tmp_path_factory.mktemp("repos") / "limits", TINY_FILES)
    folder = tmp_path_factory.mktemp("index")
    CodeIndex.build([str(repo)], folder).close()
    yield folder


@pytest.fixture
def words(tiny_repo: Path, tmp_path: Path) -> Path:
    """An index to be searched with `--mode lexical`: no model is loaded."""
    CodeIndex.build([str(tiny_repo)], tmp_path / "words", embedder=FakeEncoder()).close()
    return tmp_path / "words"


@pytest.fixture
def worse(make_repo: MakeRepo, tmp_path: Path) -> Path:
    """Such an index of the same files, one of which lost its words."""
    repo = make_repo({**TINY_FILES, "limits/bucket.py": "a = 1\n" * 32}, "worse")
    CodeIndex.build([str(repo)], tmp_path / "worse-index", embedder=FakeEncoder()).close()
    return tmp_path / "worse-index"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A question set with all sorts of gold."""
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return file


def measure(
    capsys: pytest.CaptureFixture[str], questions: Path, folder: Path, *options: object
) -> str:
    """What the command prints, without a word on stderr."""
    arguments = ["eval", "retrieval", "--questions", questions, "--index", folder, *options]
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refuse(
    capsys: pytest.CaptureFixture[str], questions: Path, folder: Path, *options: object
) -> str:
    """The one line that the command fails with."""
    arguments = ["eval", "retrieval", "--questions", questions, "--index", folder, *options]
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("codeqa: ")
    return line.removeprefix("codeqa: ")


def test_json_tells_all_that_was_measured(
    questions: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(measure(capsys, questions, folder, "--json"))
    assert list(report) == [
        *("questions", "answerable", "unanswerable", "without_gold"),
        *("configurations", "comparisons", "missing"),
    ]
    assert (report["answerable"], report["unanswerable"], report["missing"]) == (3, 1, 0)
    assert report["comparisons"] == []
    [measured] = report["configurations"]
    assert (measured["name"], measured["mode"]) == ("hybrid", "hybrid")
    assert (measured["index"], measured["embedder"]) == (str(folder), "all-MiniLM-L6-v2")
    assert list(measured["metrics"]) == list(METRICS)
    counts = {metric: values["n"] for metric, values in measured["metrics"].items()}
    assert counts["file_ndcg@10"] == 2 and counts["line_hit@5"] == 1
    assert counts["answer_in_context@1"] == 2
    assert measured["metrics"]["line_hit@1"]["mean"] == 1
    assert 0 < measured["latency_ms"]["p50"] <= measured["latency_ms"]["p99"]
    cosine = measured["best_hits"]["cosine"]
    assert cosine["quantiles"] == [0.1, 0.5, 0.9]
    assert cosine["answerable"] == sorted(cosine["answerable"])
    assert cosine["answerable"][1] > cosine["unanswerable"][1]
    assert cosine["separation"] == 1


def test_another_mode_is_compared_with_the_first(
    questions: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(measure(capsys, questions, folder, "--json", "--against", "lexical"))
    hybrid, lexical = report["configurations"]
    assert (hybrid["mode"], lexical["mode"], lexical["index"]) == (
        *("hybrid", "lexical"),
        str(folder),
    )
    assert "cosine" not in lexical["best_hits"]
    [comparison] = report["comparisons"]
    assert (comparison["first"], comparison["second"]) == ("hybrid", "lexical")
    assert list(comparison["metrics"]) == list(METRICS)


def test_another_index_is_compared_with_the_first(
    questions: Path, words: Path, worse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*LEXICAL, "--json", "--against", worse]
    report = json.loads(measure(capsys, questions, words, *options))
    assert [each["name"] for each in report["configurations"]] == ["lexical", str(worse)]
    assert [each["mode"] for each in report["configurations"]] == ["lexical", "lexical"]
    [comparison] = report["comparisons"]
    # One question has lines; in the other index they no longer hold its words.
    assert comparison["metrics"]["line_hit@1"] == {"difference": -1, "low": -1, "high": -1}
    before, after = (each["metrics"]["file_mrr"]["mean"] for each in report["configurations"])
    interval = comparison["metrics"]["file_mrr"]
    assert interval["difference"] == pytest.approx(after - before, abs=1e-5)
    assert interval["low"] < interval["difference"] < interval["high"] == 0


def test_the_table_shows_means_and_differences(
    questions: Path, words: Path, worse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = measure(capsys, questions, words, *LEXICAL, "--against", "lexical", "--against", worse)
    title, header, *rows = text.splitlines()
    assert title == f"{questions}: 3 questions, 1 that the repository does not answer"
    assert header.split() == ["n", "lexical", "lexical", str(worse)]
    table = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert list(table)[: len(METRICS)] == list(METRICS)
    assert table["line_hit@1"] == (
        "1 1.000 1.000 +0.000 [+0.000, +0.000] 0.000 -1.000 [-1.000, -1.000]*"
    )
    assert "ms a search, p50 / p99" in text
    assert "(paired bootstrap, 10,000 resamples)" in text
    assert "lexical: best score at 10%, 50%, 90%: " in text


def test_questions_without_gold_are_counted_and_measured_on_nothing(
    tmp_path: Path, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(
        '{"context": "take tokens", "continuation": "take"}\n'
        '{"context": "take tokens", "continuation": ""}\n'
    )
    title, _, first, *_ = measure(capsys, file, words, *LEXICAL).splitlines()
    assert title == f"{file}: 2 questions, 1 whose answer the set leaves empty"
    assert first.split() == ["answer_in_context@1", "1", "1.000"]


def test_each_question_is_written_with_its_values_and_hits(
    questions: Path, words: Path, worse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "details.jsonl"
    measure(capsys, questions, words, *LEXICAL, "--against", worse, "--per-question", file)
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [(each["configuration"], each["id"]) for each in records] == [
        (name, record["id"]) for name in ("lexical", str(worse)) for record in RECORDS
    ]
    first, second, _, unanswerable = records[:4]
    assert first["values"]["line_hit@1"] == 1 and second["kind"] == "code"
    assert set(second["values"]) == {m for m in METRICS if m.startswith("file_")}
    assert unanswerable["values"] == {} and unanswerable["answerable"] is False
    assert list(first["found"][0]) == [
        *("repo", "path", "start_line", "end_line", "score", "cosine")
    ]
    assert first["found"][0]["path"] == "limits/bucket.py"
    assert not list(tmp_path.glob(".*.new"))


@pytest.mark.parametrize(("name", "magic"), [("r.png", b"\x89PNG\r\n"), ("r.svg", b"<?xml")])
def test_a_picture_is_drawn(
    name: str,
    magic: bytes,
    questions: Path,
    words: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure(capsys, questions, words, *LEXICAL, "--plot", tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(magic)


def test_gold_that_is_not_indexed_is_refused_or_counted_as_not_found(
    questions: Path, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with questions.open("a") as stream:
        stream.write('{"query": "fetch a page and wait", "files": ["web/gone.ts"]}\n')
    line = refuse(capsys, questions, words)
    assert line.startswith(f"{questions}:5: {words} holds no web/gone.ts (1 question like this)")
    assert "--allow-missing" in line
    report = json.loads(measure(capsys, questions, words, *LEXICAL, "--allow-missing", "--json"))
    assert report["missing"] == 1
    [measured] = report["configurations"]
    recall = measured["metrics"]["file_recall@20"]
    assert recall == {"mean": pytest.approx(2 / 3, abs=1e-5), "n": 3}
    text = measure(capsys, questions, words, *LEXICAL, "--allow-missing")
    assert text.splitlines()[0].endswith(", 1 with gold that is not indexed")


def test_answers_that_stand_in_many_files_may_be_left_out(
    questions: Path, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["eval", "retrieval", "--questions", str(questions), "--index", str(words), *LEXICAL]
    assert main([*options, "--max-answer-files", "1", "--json"]) == 0
    captured = capsys.readouterr()
    # `take` is in many files, `RateLimitMiddleware` in one; the others have no answer.
    assert json.loads(captured.out)["answerable"] == 2
    assert captured.err.startswith("1 question left out: ")
    questions.write_text('{"query": "where?", "answer": "nowhere_to_be_found"}\n')
    assert "no question is left" in refuse(
        capsys, questions, words, *LEXICAL, "--max-answer-files", "9"
    )


def test_what_cannot_be_written_is_refused_before_measuring(
    questions: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "x.png"
    assert "there is no folder" in refuse(capsys, questions, tmp_path / "no-index", "--plot", file)
    with pytest.raises(SystemExit) as caught:
        main(["eval", "retrieval", "--questions", "q", "--plot", "recall.gif"])
    assert caught.value.code == 2
    assert "must end in .png or .svg, not be recall.gif" in capsys.readouterr().err
    (tmp_path / "taken.jsonl").mkdir()
    line = refuse(capsys, questions, words, *LEXICAL, "--per-question", tmp_path / "taken.jsonl")
    assert f"cannot write to {tmp_path}" in line and not list(tmp_path.glob(".*.new"))


def test_bad_sets_and_indexes_are_one_line(
    questions: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "run `codeqa index`" in refuse(capsys, questions, tmp_path / "none")
    assert "run `codeqa index`" in refuse(capsys, questions, words, "--against", tmp_path / "none")
    questions.write_text('{"query": "where?"}\n')
    assert f"{questions}:1: nothing is gold" in refuse(capsys, questions, words)
    assert "cannot read" in refuse(capsys, tmp_path / "none.jsonl", words)


def test_an_index_without_vectors_is_measured_by_words_and_says_so(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            raise KeyboardInterrupt

    repo = make_repository(tmp_path / "limits", TINY_FILES)
    with pytest.raises(KeyboardInterrupt):
        CodeIndex.build([str(repo)], tmp_path / "index", report=stop)
    options = ["eval", "retrieval", "--questions", str(questions)]
    assert main([*options, "--index", str(tmp_path / "index"), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"{tmp_path / 'index'}: by words alone, vectors are not made yet\n"
    assert json.loads(captured.out)["configurations"][0]["metrics"]["line_hit@1"]["mean"] == 1
    line = refuse(capsys, questions, tmp_path / "index", "--mode", "dense")
    assert "the vectors are still missing" in line


def test_the_ranks_measured_are_those_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "questions.md").read_text("utf-8")
    assert ", ".join(map(str, RANKS)) in text
    for family in {metric.partition("@")[0] for metric in METRICS}:
        assert f"`{family}" in text, family
