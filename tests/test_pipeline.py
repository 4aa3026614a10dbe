"""`mcli_yamls/pipeline_cpu.yaml` runs from a repository to an evaluated model, and goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A model of few weights that hardly learns: what is tested is that each step finds the last one's.
SMALL = {
    "parameters.tokenizer.vocab_size": 512,
    "parameters.convert.concat_tokens": 64,
    "parameters.pairs.distractors": 1,
    "parameters.pretrain.model.architecture": (
        "{hidden_size: 64, intermediate_size: 96, layers: 2, heads: 2, max_tokens: 2048}"
    ),
    "parameters.pretrain.duration": "4ba",
    "parameters.instruct.duration": "2ba",
    "parameters.evaluation.limit": 2,
    "parameters.evaluation.max_tokens": 8,
}


def run_pipeline(repo: Path, work: Path) -> str:
    """Run the job; return what it printed."""
    environment = {
        **os.environ,
        "HOME": str(work / "home"),
        "CODEQA_CACHE": str(work / "cache"),
        "CODEQA_DATASETS": str(work / "cache/datasets"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db",
    }
    script = "import sys; from app.cli import main; sys.exit(main())"
    job = str(ROOT / "mcli_yamls/pipeline_cpu.yaml")
    command = [sys.executable, "-c", script, "run", "-f", job, "--folder", str(work)]
    for key, value in {**SMALL, "env_variables.REPO": repo}.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_pipeline_ends_with_an_evaluated_model_and_does_nothing_twice(
    tiny_repo: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    run_pipeline(tiny_repo, tmp_path)
    (run,) = (tmp_path / ".codeqa/tune/runs").iterdir()
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert {row["part"] for row in evaluation["rows"]} >= {"held_out_files", "pairs"}
    weights = run / "model/model.safetensors"
    before = weights.stat().st_mtime_ns

    printed = run_pipeline(tiny_repo, tmp_path)
    assert printed.count("up to date") == 4  # tokenizer, dataset, pairs, RAFT
    assert printed.count("was finished before") == 2
    assert weights.stat().st_mtime_ns == before
    assert [each.name for each in run.parent.iterdir()] == [run.name]
