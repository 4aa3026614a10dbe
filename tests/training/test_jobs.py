"""A job that runs here finds what the platform would give it, and leaves nothing behind."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from data_tools.errors import ConfigError
from data_tools.progress import Progress
from tests.data_tools.name_server import name_server
from tests.git_repositories import make_repository
from training.job_schema import Deployment, Integration, Job, Scheduling
from training.jobs import TIMED_OUT, check_training, run_job

ROOT = Path(__file__).parent.parent.parent


def make_job(command: str, **changed: Any) -> Job:  # noqa: ANN401 - fields of a job
    """A job that runs `command`."""
    return Job(name="test-job", image="bash", command=textwrap.dedent(command), **changed)


def run(job: Job | Deployment, folder: Path, **options: Any) -> tuple[int, str, list[str]]:  # noqa: ANN401
    """Run a job; return its exit code, what it wrote to `$CODEQA_WORK/out`, and the notices."""
    said: list[Progress] = []
    done = run_job(job, folder, first_wait_s=0.01, report=said.append, **options)
    out = folder / "out"
    text = out.read_text() if out.exists() else ""
    return done.exit_code, text, [each.message for each in said]


def test_the_command_finds_parameters_and_variables(tmp_path: Path) -> None:
    job = make_job(
        'cp "$PARAMETERS" "$CODEQA_WORK/out"; echo "$SEED $RUN_NAME" >> "$CODEQA_WORK/out"',
        parameters={"model": {"layers": 2}, "text": "a\nb\n"},
        env_variables={"SEED": "17"},
    )
    code, out, _ = run(job, tmp_path)
    assert code == 0
    assert out.splitlines()[-1] == "17 test-job"
    assert "layers: 2" in out
    assert "text: |" in out


def test_parameters_are_for_the_user_s_eyes_only_and_gone_afterwards(tmp_path: Path) -> None:
    job = make_job(
        'stat -c %a "$PARAMETERS" "$PWD" > "$CODEQA_WORK/out"; pwd >> "$CODEQA_WORK/out"'
    )
    _, out, _ = run(job, tmp_path)
    *modes, folder = out.split()
    assert modes == ["600", "700"]
    assert not Path(folder).exists()


def test_codeqa_is_this_one_and_its_code_lies_beside(tmp_path: Path) -> None:
    integration = Integration(integration_type="git_repo", git_repo="whoever/codeqa")
    job = make_job(
        """
        source codeqa/mcli_yamls/setup.sh
        command -v python > out
        echo "$CODEQA_CODE" >> out
        """,
        integrations=[integration],
    )
    _, out, _ = run(job, tmp_path)
    assert out.split() == [str(Path(sys.executable).parent / "python"), str(ROOT)]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 7", 7),
        ("false; true", 1),  # the first failure ends it
        ("false | true", 1),
        ('echo "$NOT_SET"', 1),
        ("kill -9 $$", 137),
        ("no-such-command", 127),
    ],
)
def test_the_exit_code_is_the_command_s(command: str, code: int, tmp_path: Path) -> None:
    assert run(make_job(command), tmp_path)[0] == code


def test_a_command_that_fails_is_tried_again(tmp_path: Path) -> None:
    job = make_job(
        'echo "$RESUMPTION_INDEX" >> "$CODEQA_WORK/out"; test "$RESUMPTION_INDEX" = 2',
        scheduling=Scheduling(max_retries=5),
    )
    code, out, said = run(job, tmp_path)
    assert (code, out.split()) == (0, ["0", "1", "2"])
    assert said[0] == "test-job ended with exit code 1; try 2 of 6 begins in 0.01 s"


def test_it_is_tried_no_more_often_than_said_and_wrong_usage_once(tmp_path: Path) -> None:
    tried = 'echo x >> "$CODEQA_WORK/out"; exit '
    twice = make_job(tried + "1", scheduling=Scheduling(max_retries=1))
    assert run(twice, tmp_path)[:2] == (1, "x\nx\n")
    (tmp_path / "out").unlink()
    once = make_job(tried + "2", scheduling=Scheduling(max_retries=1))
    assert run(once, tmp_path)[:2] == (2, "x\n")


def test_a_job_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    job = make_job("sleep 60", scheduling=Scheduling(max_duration=0.3 / 3_600))
    code, _, said = run(job, tmp_path)
    assert code == TIMED_OUT
    assert "max_duration" in said[0]


def process_is_there(number: int) -> bool:
    """Tell whether a process runs; one that ended and waits to be noticed does not."""
    stat = Path(f"/proc/{number}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(folder: Path, name: str) -> str:
    """Wait until a file is there with something in it."""
    end = time.monotonic() + 60  # machines are busy
    while time.monotonic() < end:
        file = folder / name
        if file.exists() and file.read_text().endswith("\n"):
            return file.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{name} was not written")


def test_what_a_command_leaves_running_is_ended(tmp_path: Path) -> None:
    job = make_job('sleep 60 & echo $! > "$CODEQA_WORK/out"')
    code, out, _ = run(job, tmp_path)
    assert code == 0
    assert not process_is_there(int(out))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_stopped_job_takes_its_processes_with_it(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    # The grandchild saves a checkpoint when it is told to end.
    file.write_text(
        textwrap.dedent("""
        name: long
        image: bash
        scheduling: {max_retries: 3}
        command: |
          bash -c 'trap "echo saved > saved; exit 1" TERM; cd "$CODEQA_WORK"; echo $$ > pid
                   sleep 60 & wait'
        """)
    )
    script = "import sys; from app.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "run", "-f", str(file), "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        child = int(wait_for(tmp_path, "pid"))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert wait_for(tmp_path, "saved") == "saved\n"
    assert not process_is_there(child)


@pytest.mark.usefixtures("private_allowed")
def test_a_repository_is_cloned_at_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQA_CACHE", str(tmp_path / "cache"))
    name_server(monkeypatch, "127.0.0.1")
    ssh = tmp_path / "ssh"  # the host is this folder
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done\ncd "{tmp_path}" && exec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    make_repository(tmp_path / "someone/tools.git", {"run.sh": "echo ran\n"})
    integration = Integration(
        integration_type="git_repo", git_repo="someone/tools", path="a/b", host="git.test"
    )
    job = make_job('bash a/b/run.sh > "$CODEQA_WORK/out"', integrations=[integration])
    assert run(job, tmp_path)[:2] == (0, "ran\n")


@pytest.mark.parametrize("path", ["/workspace/x", "../x"])
def test_a_clone_stays_in_the_job_s_folder(path: str, tmp_path: Path) -> None:
    integration = Integration(integration_type="git_repo", git_repo="a/codeqa", path=path)
    with pytest.raises(ConfigError, match="must lie in the job's folder"):
        run(make_job("true", integrations=[integration]), tmp_path)


def test_packages_are_named_and_left_out_unless_wanted(tmp_path: Path) -> None:
    integration = Integration(integration_type="pip_packages", packages=["no-such-package-x"])
    code, _, said = run(make_job("true", integrations=[integration]), tmp_path)
    assert code == 0
    assert said == [
        "not installed here: no-such-package-x; `--integrations` puts it into a folder of this run"
    ]


def test_packages_go_into_a_folder_of_the_run(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "job_test_package").mkdir(parents=True)
    (package / "job_test_package/__init__.py").write_text("name = 'found'\n")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "job_test_package"\nversion = "1"\n'
    )
    words = ["--no-index", "--no-deps", "--no-build-isolation", str(package)]
    integration = Integration(integration_type="pip_packages", packages=words)
    job = make_job(
        'python -c "import job_test_package as x; print(x.name)" > "$CODEQA_WORK/out"',
        integrations=[integration],
    )
    assert run(job, tmp_path, install=True)[:2] == (0, "found\n")
    with pytest.raises(ImportError):
        __import__("job_test_package")


def test_recorders_become_variables(tmp_path: Path) -> None:
    integrations = [
        Integration(integration_type="mlflow", experiment_name="tuning", tracking_uri="databricks"),
        Integration(integration_type="wandb", project="p", entity="e", tags=["a", "b"]),
    ]
    names = "$MLFLOW_EXPERIMENT_NAME $MLFLOW_TRACKING_URI $WANDB_PROJECT $WANDB_TAGS"
    job = make_job(f'echo "{names}" > "$CODEQA_WORK/out"', integrations=integrations)
    assert run(job, tmp_path)[1] == "tuning databricks p a,b\n"


def test_a_secret_of_the_environment_reaches_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    job = make_job('echo "$HF_TOKEN" > "$CODEQA_WORK/out"')
    code, out, said = run(job, tmp_path)
    assert (code, out) == (0, "hf_abc\n")
    assert "hf_abc" not in "".join(said)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pretrain": {"objective": "pretrain", "sed": 1}}, "job.yaml, parameters.pretrain: .*sed"),
        ({"pretran": {}}, "`codeqa train` reads `parameters.pretrain`; it is missing"),
    ],
)
def test_training_parameters_are_checked_before_anything_runs(
    parameters: dict[str, Any], message: str
) -> None:
    job = make_job('sleep 60\ncodeqa train -f "$PARAMETERS#pretrain"', parameters=parameters)
    with pytest.raises(ConfigError, match=message):
        check_training(job, "job.yaml")


def test_a_deployment_runs_as_well(tmp_path: Path) -> None:
    job = Deployment(name="server", image="bash", command="exit 3", replicas=2)
    assert run(job, tmp_path)[0] == 3


def test_signals_are_as_they_were_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(make_job("true"), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
