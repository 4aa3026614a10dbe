"""`codeqa eval answers`: a question set through the whole app, and what is printed of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.recorded_answers import record_answer
from data_tools.clone import cache_folder
from retrieval import CodeIndex, Progress
from retrieval.prompt import REFUSAL
from retrieval.questions import Question
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo, make_repository
from tests.llm_helpers import open_chat
from tests.stub_openai import Message, StubOpenAI

RECORDS: list[dict[str, Any]] = [
    {
        "id": "take",
        "query": "Which method takes tokens from the bucket?",
        "lines": [["limits/bucket.py", 15, 21]],
        "answer": "take",
    },
    {"id": "class", "query": "Which class wraps a service?", "answer": "RateLimitMiddleware"},
    {"id": "file", "query": "Where are pages fetched again?", "files": ["web/client.ts"]},
    {"id": "no", "query": "What does `RequestRouter` do?", "answerable": False},
    {"id": "nowhere", "query": "Who calls `route_tokens`?", "answerable": False},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of words alone, so that no embedding model is loaded."""
    repo = make_repository(tmp_path_factory.mktemp("repos") / "limits", TINY_FILES)
    folder = tmp_path_factory.mktemp("index")

    def stop(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CodeIndex.build([str(repo)], folder, embedder=FakeEncoder(), report=stop)
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A question set with names, lines, files, and things that are not there."""
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return file


@pytest.fixture
def arguments(questions: Path, folder: Path) -> list[str]:
    """What every call is given."""
    return ["eval", "answers", "--questions", str(questions), "--index", str(folder)]


def reply(messages: list[Message]) -> str:
    """A model that is right about the bucket, cites badly once, and refuses the rest."""
    question = messages[-1]["content"].rpartition("Question: ")[2]
    if "bucket" in question:
        return "`take` [1] [99:L1-L2]"
    if "wraps" in question:
        return "The class is RateLimitMiddleware [1]."
    return REFUSAL


def run(capsys: pytest.CaptureFixture[str], arguments: list[str], *more: object) -> str:
    """What the command prints."""
    assert main([*arguments, *map(str, more)]) == 0
    return capsys.readouterr().out


def run_json(
    capsys: pytest.CaptureFixture[str], arguments: list[str], *more: object
) -> dict[str, Any]:
    """The object that the command prints."""
    report: dict[str, Any] = json.loads(run(capsys, arguments, *more, "--json"))
    return report


def refuse(capsys: pytest.CaptureFixture[str], arguments: list[str], *more: object) -> str:
    """The one line that the command fails with."""
    assert main([*arguments, *map(str, more)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1]


def values(model: dict[str, Any]) -> dict[str, float]:
    """The figures of one model."""
    return {name: metric["value"] for name, metric in model["metrics"].items()}


def asked(stub: StubOpenAI) -> int:
    """How many answers the stub was asked for."""
    return sum(request.path.endswith("/chat/completions") for request in stub.requests)


def test_quotations_are_measured_where_there_is_no_model(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_json(capsys, arguments)
    assert (report["answerable"], report["unanswerable"], report["missing"]) == (3, 2, 0)
    assert report["comparisons"] == report["judged"] == []
    [model] = report["models"]
    found = values(model)
    assert model["name"] == "quotations"
    assert found["retrieval_hit"] == found["close_match"] == 1.0
    assert found["corrected_score"] == 0.5 and found["exact_match"] == 0.0
    assert found["abstention_precision"] == found["abstention_recall"] == 1.0
    assert found["wrong_refusals"] == 0.0
    assert found["citations_as_written"] == found["citations_as_shown"] == 1.0
    assert model["metrics"]["abstention_recall"]["n"] == 2
    cost = model["cost"]
    assert 0 < cost["search_s"]["p50"] <= cost["first_token_s"]["p50"] <= cost["total_s"]["p50"]
    assert cost["failed"] == cost["calls"] == 0


def test_a_model_is_measured_beside_quotations(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, lines = tmp_path / "report.json", tmp_path / "answers.jsonl"
    with StubOpenAI(reply) as stub:
        more = ["--llm", "none", "--llm", stub.url, "--out", out, "--per-question", lines]
        printed = run(capsys, arguments, *more, "--at-once", 3)
    report = json.loads(out.read_text())
    quoted, model = report["models"]
    assert (quoted["name"], model["name"]) == ("quotations", "stub-model")
    found = values(model)
    assert found["exact_match"] == 0.5 and found["corrected_score"] == 0.75
    assert found["citations_as_written"] == pytest.approx(2 / 3, abs=1e-6)  # ours do not count
    assert found["citations_as_shown"] == 1.0
    assert found["wrong_refusals"] == pytest.approx(1 / 3, abs=1e-6)
    assert model["cost"]["completion_tokens"] > 0 and model["cost"]["calls"] == 0.6
    [comparison] = report["comparisons"]
    assert comparison["metrics"]["exact_match"]["difference"] == 0.5
    answers = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(each["model"], each["id"]) for each in answers[5:7]] == [
        ("stub-model", "take"),
        ("stub-model", "class"),
    ]
    assert answers[5]["text"].startswith("`take` [1:L") and answers[5]["dropped"] == 1
    assert answers[8]["abstained"] and answers[8]["calls"] == 0  # the model is not even asked
    assert re.search(r"^exact_match +2 +0\.000 \[.*\] +0\.500 \+0\.500 \[", printed, re.M)
    assert "5 questions" not in printed and "3 questions, 2 that the repository" in printed


def test_what_was_answered_before_a_model_died_is_kept_until_the_end(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with StubOpenAI(reply) as stub:
        arguments += ["--llm", stub.url]

        def die(messages: list[Message]) -> str:
            if asked(stub) > 1:
                stub.fault = 500
            return reply(messages)

        stub.reply = die
        [model] = run_json(capsys, arguments)["models"]
        assert model["cost"]["failed"] >= 1  # fewer than three in a row: the rest is measured
        stub.reply, stub.fault = reply, None
        before = asked(stub)
        [model] = run_json(capsys, arguments)["models"]
        assert model["cost"]["failed"] == 0
        assert asked(stub) - before == 3  # it ended, so everything is asked anew


def test_what_came_before_a_stream_broke_off_is_kept(folder: Path) -> None:
    with (
        StubOpenAI("The bucket holds tokens [1].", fault="drop") as stub,
        CodeIndex.open(folder) as index,
    ):
        question = Question("1", "Which rate has the bucket?", answer="rate")
        record = record_answer(index, question, open_chat(stub.url))
    assert record.problem is not None and "broke off" in record.problem
    assert record.text and "The bucket holds tokens".startswith(record.text)
    assert record.found and record.first_token_s is not None and record.valid == 0


def test_an_evaluation_that_was_stopped_goes_on(
    questions: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("token", "rate", "capacity", "amount", "self")
    queries = [f"Which {word} has the bucket?" for word in words]
    more = [{**RECORDS[0], "id": query, "query": query} for query in queries]
    questions.write_text("".join(json.dumps(each) + "\n" for each in more))
    with StubOpenAI(reply) as stub:
        arguments += ["--llm", stub.url]

        def die(messages: list[Message]) -> str:
            if asked(stub) >= 2:
                stub.fault = 500
            return reply(messages)

        stub.reply = die
        problem = refuse(capsys, arguments)
        assert "stub-model failed at 3 questions in a row" in problem
        assert "what was answered is kept" in problem
        stub.reply, stub.fault = reply, None
        before = asked(stub)
        [model] = run_json(capsys, arguments)["models"]
        assert asked(stub) - before == 3
        assert model["cost"]["failed"] == 0 and model["metrics"]["exact_match"]["n"] == 5
    assert not list((cache_folder() / "evaluations").glob("*.jsonl"))


def test_a_judge_compares_with_the_references_and_with_the_first_model(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def prefer_short(messages: list[Message]) -> str:
        first, second = re.findall(r"answer \w>>\n(.*?)\n<", messages[-1]["content"], re.S)
        if len(first) == len(second):
            return "[[C]]"
        return "[[A]]" if len(first) < len(second) else "[[B]]"

    with StubOpenAI(reply) as stub, StubOpenAI(prefer_short, models=("judge",)) as judge:
        arguments += ["--llm", "none", "--llm", stub.url, "--judge", f"{judge.url}/v1"]
        report = run_json(capsys, arguments)
        printed = run(capsys, arguments)
    by_names = {(each["first_name"], each["second_name"]): each for each in report["judged"]}
    assert list(by_names) == [
        ("the reference", "quotations"),
        ("the reference", "stub-model"),
        ("quotations", "stub-model"),
    ]
    assert by_names["the reference", "quotations"]["score"] == 0.0
    against = by_names["quotations", "stub-model"]
    assert against["duels"] == 5 and against["second"] == 3 and against["tie"] == 2
    assert "on stub-model against quotations: 0.800" in printed
    assert "hung on the order" in printed


def test_a_complex_set_is_measured_by_words_in_common(
    questions: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"context": "How do clients wait?", "continuation": "They wait as Retry-After says"}
    questions.write_text(json.dumps(record) + "\n")
    [model] = run_json(capsys, arguments, "--preset", "complex")["models"]
    assert "exact_match" not in model["metrics"] and "retrieval_hit" not in model["metrics"]
    assert model["metrics"]["token_f1"]["n"] == 1


def test_a_part_of_the_set_is_the_same_part_each_time(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("one", "two")]
    for file in files:
        run(capsys, arguments, "--limit", 3, "--per-question", file)
    ids = [[json.loads(line)["id"] for line in file.read_text().splitlines()] for file in files]
    assert ids[0] == ids[1] and len(ids[0]) == 3


def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    arguments: list[str],
    questions: Path,
    make_repo: MakeRepo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "give its --judge URL too" in refuse(capsys, arguments, "--judge-model", "m")
    missing = tmp_path / "none" / "out.json"
    assert "there is no folder" in refuse(capsys, arguments, "--out", missing)
    other = make_repo({"a.py": "a = 1\n"}, "other")
    CodeIndex.build([str(other)], tmp_path / "other", embedder=FakeEncoder()).close()
    elsewhere = ["eval", "answers", "--questions", str(questions), "--index", tmp_path / "other"]
    problem = refuse(capsys, [str(word) for word in elsewhere])
    assert f"{questions}:1:" in problem and "--allow-missing" in problem
