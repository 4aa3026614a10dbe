"""A job rendered for SkyPilot is one that SkyPilot takes.

SkyPilot cannot share an environment with codeqa: `make skypilot` makes one of its own, and
`CODEQA_SKY_PYTHON` names the Python of another.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_tools.errors import ConfigError
from training.job_schema import Compute, Deployment, Integration, Job, Scheduling, load_job
from training.skypilot import render_skypilot

ROOT = Path(__file__).parent.parent.parent
JOBS = sorted((ROOT / "mcli_yamls").glob("*.yaml"))
SKY_PYTHON = Path(os.environ.get("CODEQA_SKY_PYTHON", ROOT / "build/skypilot/bin/python"))
CHECK = """
import sys
import sky
for file in sys.argv[1:]:
    task = sky.Task.from_yaml(file)
    assert task.name and task.run, file
    print(task.num_nodes, *sorted(task.resources, key=str), sep="|")
"""


def make_job(**changed: Any) -> Job:  # noqa: ANN401 - fields of a job
    """A job for 16 GPUs."""
    compute = Compute(gpus=16, gpu_type="h100_80gb")
    fields = {"name": "train", "image": "some/image:1", "command": "echo run\n", "compute": compute}
    return Job(**{**fields, **changed})


def render(job: Job | Deployment) -> dict[str, Any]:
    """The task as SkyPilot reads it."""
    task: dict[str, Any] = yaml.safe_load(render_skypilot(job))
    return task


def test_machines_image_and_retries_are_carried_over() -> None:
    task = render(make_job(scheduling=Scheduling(max_retries=3, preemptible=True)))
    assert task["num_nodes"] == 2
    assert task["resources"] == {
        "accelerators": {"H100": 8},
        "image_id": "docker:some/image:1",
        "use_spot": True,
        "job_recovery": {"max_restarts_on_errors": 3},
    }


def test_a_job_without_gpus_asks_for_none() -> None:
    task = render(make_job(compute=Compute(gpus=0, cpus=4)))
    assert task["resources"] == {"cpus": "4+", "image_id": "docker:some/image:1"}


def test_the_command_finds_its_parameters_and_variables(tmp_path: Path) -> None:
    job = make_job(
        command='cp "$PARAMETERS" parameters; echo "$SEED $NODE_RANK $MASTER_ADDR" > out\n',
        env_variables={"SEED": "17"},
        parameters={"text": "it's $HOME\nand `that`\n", "rate": 1e-5},
    )
    task = render(job)
    sky = {
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NODE_RANK": "1",
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **task["envs"], **sky}
    subprocess.run(["bash", "-c", task["run"]], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "out").read_text() == "17 1 10.0.0.1\n"
    assert yaml.safe_load((tmp_path / "parameters").read_text()) == job.parameters


def test_integrations_are_set_up_before() -> None:
    integrations = [
        Integration(integration_type="git_repo", git_repo="a/b", git_branch="main", host="h.org"),
        Integration(integration_type="git_repo", git_repo="c/d", git_commit="abc", ssh_clone=False),
        Integration(integration_type="pip_packages", packages=["numpy<3"], upgrade=True),
        Integration(integration_type="mlflow", experiment_name="tuning"),
    ]
    task = render(make_job(integrations=integrations))
    setup = task["setup"].splitlines()
    assert "test -d b || git clone --depth 1 --branch main git@h.org:a/b.git b" in setup
    assert "git -C d fetch --quiet --depth 1 https://github.com/c/d.git abc" in setup
    assert "pip install --upgrade 'numpy<3'" in setup
    assert task["envs"]["MLFLOW_EXPERIMENT_NAME"] == "tuning"
    subprocess.run(["bash", "-n", "-c", task["setup"]], check=True)


def test_a_deployment_is_a_service() -> None:
    job = Deployment(
        name="server",
        image="some/image:1",
        command="vllm serve x --port 9000",
        replicas=2,
        compute=Compute(gpus=1, gpu_type="l4"),
    )
    task = render(job)
    assert task["service"]["replicas"] == 2
    assert task["resources"]["ports"] == 9000


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (Compute(gpus=1), "must be told `compute.gpu_type`, one of .*h100_80gb.*does not say"),
        (Compute(gpus=1, gpu_type="h1000"), "not 'h1000'"),
        (Compute(gpus=3, nodes=2, gpu_type="t4"), "cannot be spread evenly over 2 machines"),
    ],
)
def test_what_skypilot_would_not_notice_is_refused(compute: Compute, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        render_skypilot(make_job(compute=compute))


def test_secrets_of_the_environment_are_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdef")
    for file in JOBS:
        assert "hf_abcdef" not in render_skypilot(load_job(file))


@pytest.mark.skipif(not SKY_PYTHON.exists(), reason="SkyPilot is not installed: make skypilot")
def test_skypilot_takes_every_job_that_ships(tmp_path: Path) -> None:
    files = []
    for job in JOBS:
        files.append(tmp_path / job.name)
        files[-1].write_text(render_skypilot(load_job(job)))
    command = [str(SKY_PYTHON), "-c", CHECK, *map(str, files)]
    environment = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(JOBS)
