"""`codeqa export`, `adapters` and `runs`, from the command line."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from app.cli import main
from app.llm import chat_model_name, open_chat_model
from tests.tiny_model import make_tiny_adapter, make_tiny_model
from tests.training.mlflow_stores import free_port, make_store
from training.hashes import model_hash
from training.registry import resolve_model


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "CUSTOM_LORA_ADAPTERS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return make_store()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished LoRA run, as `codeqa train` leaves it."""
    base = make_tiny_model(tmp_path / "base")
    folder = tmp_path / "run"
    adapter = make_tiny_adapter(folder / "adapter", base)
    card = {"method": "lora", "base": str(base), "base_sha256": model_hash(base)}
    (adapter / "codeqa.json").write_text(json.dumps(card))
    (folder / "config.yaml").write_text(
        "objective: instruct\n"
        f"output: {folder}\n"
        f"model: {{name: {base}, method: lora}}\n"
        "data: {pairs: [pairs/]}\n"
    )
    (folder / "run.json").write_text(json.dumps({"datasets": ["pairs@0123456789ab"]}))
    (folder / "log.jsonl").write_text('{"step": 1, "loss": 2.5, "time": 1000.0}\n')
    return folder


def evaluate(run: Path, *, base: float, tuned: float) -> str:
    """Write what `codeqa eval model … --adapter RUN/adapter --out` writes."""
    row = {"part": "pairs", "metric": "token_f1", "n": 40, "base": base, "tuned": tuned}
    content = {"model": f"{run.parent}/base + {run}/adapter", "base": "base", "rows": [row]}
    file = run.parent / "evaluation.json"
    file.write_text(json.dumps(content))
    return str(file)


def test_a_run_is_merged_registered_and_answers_under_its_name(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run.parent / "merged"
    evaluation = evaluate(run, base=0.2, tuned=0.3)
    words = ["export", str(run), "--out", str(out), "--merge", "--register", "codeqa"]
    assert main([*words, "--alias", "champion", "--evaluation", evaluation]) == 0
    shown = capsys.readouterr().out
    assert "merged into" in shown
    assert "models:/codeqa@champion: version 1" in shown
    assert resolve_model("models:/codeqa@champion") == str(out)
    chat = open_chat_model("models:/codeqa@champion", max_tokens=2)
    assert chat is not None
    assert chat_model_name(chat) == "merged"


def test_a_worse_model_is_told_of_before_anything_is_written(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run.parent / "merged"
    evaluation = evaluate(run, base=0.3, tuned=0.2)
    words = ["export", str(run), "--out", str(out), "--merge", "--register", "codeqa"]
    words += ["--alias", "champion", "--evaluation", evaluation]
    assert main(words) == 1
    assert "worse than base: token F1 is 0.200 and was 0.300" in capsys.readouterr().err
    assert not out.exists()
    assert main([*words, "--force", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["merged"] is True
    assert record["registered"]["uri"] == "models:/codeqa@champion"


def test_a_champion_without_an_evaluation_names_the_command(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(run), "--register", "codeqa", "--alias", "champion"]
    assert main(words) == 1
    assert "run `codeqa eval model" in capsys.readouterr().err


def test_what_is_there_already_is_registered_as_it_is(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--register", "codeqa", "--alias", "candidate"]) == 0
    assert resolve_model("models:/codeqa@candidate") == str(run / "adapter")
    assert capsys.readouterr().out.startswith("models:/codeqa@candidate: version 1")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give --out DIR to export into, --register NAME, or both"),
        (["--register", "x", "--merge"], "need --out"),
        (["--out", "x", "--alias", "champion"], "need --register"),
    ],
)
def test_options_that_do_not_go_together_are_told_of(
    run: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), *words]) == 1
    assert reason in capsys.readouterr().err


def test_adapters_are_listed_with_their_fit(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = run.parent / "base"
    assert main(["adapters", str(run), "--base", str(base)]) == 0
    heads, line = capsys.readouterr().out.splitlines()
    assert heads.split() == ["adapter", "base", "rank", "layers", "MB", "fits"]
    assert line.split()[:3] == [str(run / "adapter"), str(base), "4"]
    assert line.split()[-1] == "yes"
    monkeypatch.setenv("CUSTOM_LORA_ADAPTERS_DIR", str(run))
    assert main(["adapters", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == ["q_proj", "v_proj"]


def test_runs_are_sent_and_listed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--list"]) == 0
    assert "no runs yet" in capsys.readouterr().out
    assert main(["runs", "--sync", str(run)]) == 0
    assert "1 record sent to sqlite:///" in capsys.readouterr().out
    assert main(["runs", "--list"]) == 0
    heads, line = capsys.readouterr().out.splitlines()
    assert heads.split()[:3] == ["run", "experiment", "status"]
    assert line.split()[:3] == ["run", "pairs-instruct", "finished"]
    assert "2.5" in line
    assert line.endswith(str(run / "adapter"))
    assert main(["runs", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["step"], record["metrics"]) == (1, {"loss": 2.5})


def test_a_server_that_is_not_there_is_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert main(["runs", "--list"]) == 1
    assert "does not answer; start it, or correct its address" in capsys.readouterr().err
    assert main(["runs", "--port", str(free_port()), "--no-browser"]) == 0
    assert "open its page there" in capsys.readouterr().out


def test_the_page_of_runs_is_served_and_stops(run: Path) -> None:
    assert main(["runs", "--sync", str(run)]) == 0
    port = free_port()
    code = "import sys; from app.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "runs", "--port", str(port), "--no-browser"]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
    try:
        address = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(
            f"{address}/api/2.0/mlflow/experiments/search",
            data=b'{"max_results": 10}',
            headers={"Content-Type": "application/json"},
        )
        found: list[str] = []
        deadline = time.monotonic() + 90
        while not found and time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
                found = [each["name"] for each in json.load(answer)["experiments"]]
            time.sleep(0.2)
        assert "pairs-instruct" in found
        with urllib.request.urlopen(address, timeout=10) as page:
            assert b"<title>MLflow</title>" in page.read()
    finally:
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    assert child.returncode == 0
    assert b"Ctrl-C stops it" in errors
    assert b"Warning" not in errors
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=5)
    assert not Path("mlruns").exists()
