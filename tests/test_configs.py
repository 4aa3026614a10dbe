"""Every job file that ships is one that runs, deploys and renders; its commands exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from mcli import RunConfig
from mcli.models.inference_deployment_config import (
    FinalInferenceDeploymentConfig,
    InferenceDeploymentConfig,
)
from mcli.models.run_config import FinalRunConfig

from app.cli import make_parser
from app.parameters import expand_parameters
from training.job_schema import AnyJob, Deployment, Job, load_job, to_yaml
from training.jobs import check_training

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "mcli_yamls"
JOBS = sorted(FOLDER.glob("*.yaml"))
RUN_KEYS = {
    "name", "image", "compute", "scheduling", "integrations", "env_variables", "command",
    "parameters",
}  # fmt: skip
MAX_LINES = 60
STEPS = (
    "index convert_txt convert_jsonl convert_mds qa_pairs tune_retriever pretrain_codebase "
    "pretrain_coqa pretrain_package_index tune_chat tune_qlora_7b export deploy_language_model "
    "deploy_embedding_model evaluate".split()
)

every_job = pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)


def codeqa_commands(job: AnyJob, parameters: Path) -> list[list[str]]:
    """The words of every call of `codeqa`, with the job's variables put in."""
    variables = {**job.env_variables, "PARAMETERS": str(parameters), "CODEQA_CODE": "."}
    text = job.command.replace("\\\n", " ")
    variables |= {name: "x" for name in re.findall(r"^(\w+)=\$\(", text, re.MULTILINE)}
    variables.update(re.findall(r'^(\w+)="(.+)"$', text, re.MULTILINE))
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: variables.get(m[1]) or m[2], text)
    for _ in range(2):  # a variable may be made of others
        text = re.sub(r"\$\{?(\w+)\}?", lambda match: variables[match[1]], text)
    calls = re.findall(r"(?:^|\|\| |&& )codeqa (.+)$", text, re.MULTILINE)
    return [shlex.split(call, comments=True) for call in calls]


def test_there_is_a_job_for_every_step_in_the_order_of_the_pipeline() -> None:
    numbered = [f"{number:02}_{step}.yaml" for number, step in enumerate(STEPS, 1)]
    assert [file.name for file in JOBS] == [*numbered, "pipeline_cpu.yaml"]


@every_job
def test_a_job_is_short_says_what_it_is_and_has_every_key(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith("# ")
    content = yaml.safe_load(text)
    if isinstance(load_job(file), Deployment):
        assert {"name", "image", "replicas", "compute", "command"} <= set(content)
    else:
        assert set(content) == RUN_KEYS


@every_job
def test_the_platform_s_own_tool_takes_a_job(file: Path) -> None:
    if isinstance(load_job(file), Deployment):
        deployment = InferenceDeploymentConfig.from_file(file)
        final = FinalInferenceDeploymentConfig.finalize_config(deployment)
        sent = final.to_create_deployment_api_input()["inferenceDeploymentInput"]
        assert sent["deploymentName"] == deployment.name
    else:
        run = RunConfig.from_file(file)
        submitted = FinalRunConfig.finalize_config(run).to_create_run_api_input()["runInput"]
        assert submitted["parameters"] == yaml.safe_load(file.read_text("utf-8"))["parameters"]


@every_job
def test_the_commands_of_a_job_parse_with_its_parameters(file: Path, tmp_path: Path) -> None:
    job = load_job(file)
    check_training(job, file.name)
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(to_yaml(job.parameters if isinstance(job, Job) else {}))
    commands = codeqa_commands(job, parameters)
    assert commands or isinstance(job, Deployment)
    for command in commands:
        parser = make_parser()
        words = expand_parameters(parser, command)
        assert parser.parse_args(words).command == command[0]


@every_job
def test_the_command_of_a_job_is_bash(file: Path) -> None:
    job = load_job(file)
    subprocess.run(["bash", "-n", "-c", job.command], check=True)
    if isinstance(job, Job):
        assert job.command.startswith("source codeqa/mcli_yamls/setup.sh\n")


def test_a_rented_machine_installs_the_clone_and_keeps_results_on_its_volume(
    tmp_path: Path,
) -> None:
    clone = tmp_path / "codeqa"
    (clone / "mcli_yamls").mkdir(parents=True)
    (clone / "mcli_yamls/setup.sh").write_text((FOLDER / "setup.sh").read_text())
    (clone / "Makefile").write_text("install:\n\t@mkdir -p .venv/bin\n\t@touch made\n")
    command = "source codeqa/mcli_yamls/setup.sh; pwd; echo $PATH"
    environment = {"PATH": "/usr/bin:/bin", "CODEQA_WORK": str(tmp_path / "volume")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    folder, path = done.stdout.splitlines()[-2:]
    assert (clone / "made").exists()
    assert folder == str(tmp_path / "volume")
    assert path.startswith(f"{clone}/.venv/bin:")
