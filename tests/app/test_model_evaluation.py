"""`codeqa eval model`: what it prints for people and programs, draws, writes, and refuses."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.context_picture import draw_contexts
from data_tools.chunk import Chunk
from data_tools.errors import ConfigError
from data_tools.flatten import flatten
from retrieval import CodeIndex
from retrieval.prompt import REFUSAL, answer_messages
from tests.stub_openai import StubOpenAI
from tests.tiny_model import make_tiny_adapter, make_tiny_model
from training.hashes import model_hash

KEYS = [
    *("part", "metric", "n", "base", "tuned", "difference", "low", "high"),
    *("base_interval", "tuned_interval"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, an adapter for it, and held-out pairs in retrieval-augmented form."""
    folder = tmp_path_factory.mktemp("evaluated")
    make_tiny_model(folder / "model")
    make_tiny_adapter(folder / "adapter", folder / "model")
    passages = [
        Chunk("limits", "c" * 40, f"{name}.py", 1, 2, "python", "", f"def {name}():\n    pass\n")
        for name in ("take", "wait")
    ]
    lines = []
    for number, absent in enumerate((False, False, True)):
        question = f"What takes {number} tokens?"
        evidence = {"repo": "limits", "path": "take.py", "start_line": 1, "end_line": 1}
        lines.append(
            {
                "id": f"pair-{number}",
                "kind": "docstring",
                "question": question,
                "answer": "`take`",
                "evidence": [] if absent else [evidence],
                "prompt": answer_messages(question, passages),
                "completion": [
                    {"role": "assistant", "content": REFUSAL if absent else "`take` [1:L1-L1]."}
                ],
                "gold": [] if absent else [1],
                "split": "test",
            }
        )
    (folder / "raft").mkdir()
    (folder / "raft" / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "raft" / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def index(tiny_repo: Path, tmp_path: Path) -> Iterator[Path]:
    """An index made with the packaged model, as a user's is."""
    CodeIndex.build([str(tiny_repo)], tmp_path / "index").close()
    yield tmp_path / "index"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command prints."""
    assert main(["eval", "model", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the command fails with."""
    assert main(["eval", "model", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1].removeprefix("codeqa: ")


def test_an_adapter_is_measured_against_the_model_without_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "replay.txt").write_text("Es war einmal.\n" * 9)
    out, plot = tmp_path / "evaluation.json", tmp_path / "contexts.svg"
    arguments = (folder / "model", "--adapter", folder / "adapter", "--pairs", folder / "raft")
    options = ("--max-tokens", 8, "--replay", tmp_path / "replay.txt")
    printed = run(capsys, *arguments, *options, "--json", "--out", out, "--plot", plot)
    report = json.loads(printed)
    assert report == json.loads(out.read_text())
    keys = ["model", "base", "commit", "rows", "left_out", "notes", "weights_sha256"]
    assert list(report) == keys
    assert report["weights_sha256"] == model_hash(folder / "adapter")
    assert report["model"] == f"{folder / 'model'} + {folder / 'adapter'}"
    assert report["base"] == str(folder / "model")
    assert all(list(row) == KEYS for row in report["rows"])
    parts = list(dict.fromkeys(row["part"] for row in report["rows"]))
    contexts = ["no_context", "gold_passage", "gold_with_distractors"]
    assert parts == ["replay", "pairs", *contexts]
    rows = {(row["part"], row["metric"]): row for row in report["rows"]}
    row = rows["replay", "bits_per_byte"]
    assert row["difference"] == pytest.approx(row["tuned"] - row["base"], abs=2e-6)
    assert row["difference"] != 0
    assert rows["pairs", "token_f1"]["n"] == 2
    assert rows["pairs", "refusal_recall"]["n"] == 1
    picture = plot.read_text()
    assert picture.startswith("<?xml") and "</svg>" in picture
    table = run(capsys, *arguments, *options)  # nothing is generated again
    assert "pairs" in table and "* clear of 0" in table
    assert table.splitlines()[1].split()[:5] == ["part", "metric", "n", "base", "tuned"]


def test_one_model_alone_gets_intervals_of_its_own(
    folder: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = tmp_path / "names.jsonl"
    records = [{"context": "What takes tokens?", "continuation": name} for name in ("take", "wait")]
    questions.write_text("".join(json.dumps(record) + "\n" for record in records))
    options = ("--questions", questions, "--index", index, "--max-tokens", 8)
    table = run(capsys, folder / "model", *options)
    assert table.splitlines()[1].split()[:4] == ["part", "metric", "n", "model"]
    assert "questions:names" in table and "corrected_score" in table
    assert "left out" not in table  # the passages were fitted to the model's context


def test_held_out_files_are_those_that_the_dataset_says(
    folder: Path, tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flatten([str(tiny_repo)], tmp_path / "corpus")
    arguments = ["convert", "txt", tmp_path / "corpus", "--out", tmp_path / "mds"]
    options = ["--tokenizer", folder / "model", "--concat-tokens", 64, "--shares", 0.5, 0.25, 0.25]
    assert main([str(word) for word in [*arguments, *options]]) == 0
    capsys.readouterr()
    material = ("--corpus", tmp_path / "corpus", "--dataset", tmp_path / "mds")
    report = json.loads(run(capsys, folder / "model", *material, "--json"))
    rows = {(row["part"], row["metric"]): row for row in report["rows"]}
    lines = (tmp_path / "mds" / "documents.jsonl").read_text().splitlines()
    held_out = [line for line in map(json.loads, lines) if line["split"] == "test"]
    row = rows["held_out_files", "bits_per_byte"]
    assert row["n"] == len(held_out) > 0
    assert row["tuned"] == pytest.approx(8, abs=0.2)  # a random model of bytes
    assert rows["held_out_files", "unigram_bits_per_byte"]["tuned"] < 7


def test_a_served_model_is_measured_and_what_it_does_not_tell_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "replay.txt").write_text("Es war einmal.\n")

    def reply(messages: list[dict[str, Any]]) -> str:
        return "`take` [1:L1]."

    material = ("--pairs", folder / "raft", "--replay", tmp_path / "replay.txt")
    with StubOpenAI(reply, models=("base", "tuned")) as stub:
        options = ("--url", stub.url, "--model", "tuned", "--base", "base")
        report = json.loads(run(capsys, *options, *material, "--json"))
        asked = {request.body["model"] for request in stub.chats}
    assert asked == {"base", "tuned"}
    assert report["model"].endswith("/v1#tuned") and report["base"].endswith("/v1#base")
    rows = {(row["part"], row["metric"]): row for row in report["rows"]}
    assert rows["pairs", "exact_match"]["tuned"] == 1
    assert rows["pairs", "citation_validity"]["tuned"] == 1
    assert rows["pairs", "refusal_recall"]["tuned"] == 0
    assert ("replay", "bits_per_byte") not in rows
    assert len(report["notes"]) == 2 and "no probabilities" in report["notes"][0]


def test_a_limit_takes_fewer_pairs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StubOpenAI() as stub:
        run(capsys, "--url", stub.url, "--pairs", folder / "raft", "--limit", 1)
        assert len(stub.chats) <= 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give either MODEL"),
        (("MODEL", "--url", "http://localhost:1/v1", "--pairs", "RAFT"), "give either MODEL"),
        (("MODEL",), "nothing to measure"),
        (("MODEL", "--corpus", "RAFT"), "--corpus and --dataset go together"),
        (("MODEL", "--model", "x", "--pairs", "RAFT"), "--model chooses among a server's"),
        (("MODEL", "--replay", "x.txt", "--plot", "a.png"), "give --pairs too"),
        (("MODEL", "--pairs", "RAFT", "--out", "none/a.json"), "there is no folder none"),
        (("MODEL", "--pairs", "none"), "none is no dataset|there is no dataset none"),
        (("MODEL", "--replay", "none.txt"), "there is no .*none.txt"),
        (("./none", "--pairs", "RAFT"), "there is no model folder ./none"),
        (("--url", "http://localhost:1/v1", "--adapter", "x", "--pairs", "RAFT"), "--adapter"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    options: tuple[str, ...],
    words: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"MODEL": folder / "model", "RAFT": folder / "raft"}
    message = refuse(capsys, *(names.get(option, option) for option in options))
    assert re.search(words, message), message


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to draw"):
        draw_contexts({"rows": [], "base": None}, "svg")


@pytest.mark.parametrize("base", [None, "base"])
def test_the_picture_is_the_same_for_the_same_evaluation(base: str | None) -> None:
    row = {"metric": "token_f1", "n": 9, "base": 0.3, "base_interval": [0.2, 0.35]}
    row |= {"tuned": 0.5, "tuned_interval": None}
    described = {"base": base, "rows": [row | {"part": part} for part in ("gold_passage",)]}
    assert draw_contexts(described, "svg") == draw_contexts(described, "svg")
    assert draw_contexts(described, "png").startswith(b"\x89PNG")
