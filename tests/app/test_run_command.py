"""`codeqa run`: its exit code, what it shows, what it refuses."""

from pathlib import Path

import pytest
import yaml

from app.cli import main

JOB = """
name: job
image: bash
command: |
  echo "$SEED" > "$CODEQA_WORK/out"
  exit "$CODE"
env_variables: {SEED: "17", CODE: "0"}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text(JOB)
    return file


def test_a_job_runs_and_says_that_it_is_done(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "-f", str(job), "--folder", str(tmp_path / "results")]
    assert main([*arguments, "--set", "env_variables.SEED='18'"]) == 0
    assert (tmp_path / "results/out").read_text() == "18\n"
    assert "job is done, 0 s" in capsys.readouterr().err


def test_the_exit_code_of_the_command_is_kept(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "-f", str(job), "--folder", str(tmp_path), "--set", "env_variables.CODE='9'"])
    assert left.value.code == 9
    assert "job ended with exit code 9" in capsys.readouterr().err


def test_a_dry_run_prints_the_job_and_runs_nothing(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "-f", str(job), "--folder", str(tmp_path), "--set", "parameters.a.b=1e-5"]
    assert main([*arguments, "--dry-run"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["parameters"] == {"a": {"b": "1e-5"}}
    assert not (tmp_path / "out").exists()


def test_a_task_for_skypilot_is_printed(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-f", str(job), "--to", "skypilot"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["envs"]["SEED"] == "17"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("scheduling.max_retrys=1", "did you mean `max_retries`?"),
        ("command", "must look like"),
        ("env_variables.HF_TOKEN=hf_abc", "looks like a secret"),
    ],
)
def test_what_is_wrong_is_said_on_one_line(
    setting: str, message: str, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "-f", str(job), "--set", setting]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-f", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err
