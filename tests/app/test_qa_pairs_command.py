"""`codeqa qa-pairs` writes whole, versioned datasets, skips current ones, says what it did."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from data_tools.dataset import read_manifest, resolve, verify
from retrieval.prompt import REFUSAL
from tests.git_repositories import commit_files
from tests.stub_openai import Message, StubOpenAI


@pytest.fixture(autouse=True)
def _own_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEQA_DATASETS", str(tmp_path / "versions"))


def run(*words: object) -> int:
    """Run the command, its folders beside each other."""
    return main(["qa-pairs", *map(str, words)])


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """All pairs of a dataset."""
    files = [folder / f"{split}.jsonl" for split in ("train", "validation", "test")]
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def test_pairs_are_a_dataset_with_a_version_and_a_table_of_kinds(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    assert run(tiny_repo, "--out", out) == 0
    manifest = verify(out)
    assert (manifest.kind, manifest.name, manifest.sources[0].repo) == ("pairs", "pairs", "limits")
    assert resolve(manifest.version) == out
    records = lines_of(out)
    assert sum(counts.samples for counts in manifest.splits.values()) == len(records)
    assert set(records[0]) == {"id", "kind", "question", "answer", "evidence", "split"}
    assert set(records[0]["evidence"][0]) == {"repo", "commit", "path", "start_line", "end_line"}
    shown = capsys.readouterr().out
    assert "signature" in shown and manifest.version in shown


def test_a_current_dataset_is_skipped_and_a_changed_input_is_not(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    assert run(tiny_repo, "--out", out, "--kinds", "docstring") == 0
    first = (out / "manifest.json").stat().st_mtime_ns
    assert run(tiny_repo, "--out", out, "--kinds", "docstring") == 0
    assert "up to date" in capsys.readouterr().out
    assert (out / "manifest.json").stat().st_mtime_ns == first
    version = read_manifest(out).version
    commit_files(
        tiny_repo, {"new.py": 'def fill():\n    """Fill every bucket to the brim."""\n'}, "x"
    )
    assert run(tiny_repo, "--out", out, "--kinds", "docstring") == 0
    assert read_manifest(out).version != version
    assert any("`fill`" in record["question"] for record in lines_of(out))


def test_with_passages_both_datasets_are_written_and_told_as_json(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(tiny_repo), "--index", str(tmp_path / "index")]) == 0
    capsys.readouterr()
    out, raft = tmp_path / "pairs", tmp_path / "raft"
    words = (tiny_repo, "--out", out, "--raft", raft, "--index", tmp_path / "index", "--limit", 40)
    assert run(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"]["version"] == verify(out).version
    assert told["raft"]["version"] == verify(raft).version
    records = lines_of(raft)
    refused = [record for record in records if not record["gold"]]
    assert told["raft"]["refusals"] == len(refused) and read_manifest(raft).kind == "raft"
    assert refused and all(record["answer"].startswith(REFUSAL) for record in refused)
    assert {record["id"] for record in records} <= {record["id"] for record in lines_of(out)}
    assert run(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["raft"]["up_to_date"]


def test_a_model_writes_pairs_and_a_dead_server_costs_only_what_was_not_asked(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(tiny_repo), "--index", str(tmp_path / "index")]) == 0
    asked: list[str] = []

    def reply(messages: list[Message]) -> str:
        asked.append(messages[-1]["content"])
        if len(asked) == 2:
            stub.fault = "drop"
        quoted = {
            "question": "How does the token bucket refill its tokens?",
            "answer": "By `rate`.",
        }
        return json.dumps([quoted])

    out = tmp_path / "pairs"
    with StubOpenAI(reply) as stub:
        words = (tiny_repo, "--out", out, "--index", tmp_path / "index", "--llm", stub.url)
        assert run(*words, "--kinds", "docstring") == 1
        assert "run the same command again to go on" in capsys.readouterr().err
        assert not out.exists()
        stub.fault = None
        assert run(*words, "--kinds", "docstring", "--json") == 0
    told = json.loads(capsys.readouterr().out)["pairs"]
    repeated = len(asked) - len(set(asked))
    assert repeated == 1  # the one that broke off
    written = [record for record in lines_of(out) if record["kind"] == "written"]
    assert sum(told["kinds"].get("written", {}).values()) == len(written) <= 1
    assert any(reason.startswith("written: ") for reason in told["dropped"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shares", "0.9", "0.9", "0.1"], "sum to 1"),
        (["--kinds", "subclass"], "choose others, or other repositories"),
    ],
)
def test_what_cannot_be_made_is_one_line_that_names_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "a.py").write_text("x = 1\n")
    assert run(tmp_path / "repo", "--out", tmp_path / "pairs", *words) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("codeqa: ") and message in error
    assert not (tmp_path / "pairs").exists()


def test_a_folder_of_something_else_is_not_replaced(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert run(tiny_repo, "--out", out) == 1
    assert "is not replaced" in capsys.readouterr().err
    assert (out / "thesis.tex").read_text() == "years of work"
