"""Render a job as a SkyPilot task, to be run on Kubernetes, Slurm or a cloud.

Text only: SkyPilot needs other versions of packages than codeqa does, so it is never imported.
What the job's command finds is what it finds on MosaicML's platform: its repositories and
packages, the parameters in a file named by `$PARAMETERS`, its variables, and where the first
machine is (`MASTER_ADDR`). A run becomes a task for `sky jobs launch`, a deployment one for
`sky serve up`. Secrets are not rendered: give them with `--secret NAME` when the task is launched.
"""

import re
import shlex
from typing import Any

from data_tools.errors import ConfigError
from training.job_integrations import clone_url, environment_of
from training.job_schema import AnyJob, Compute, Deployment, Integration, Job, to_yaml

GPUS_OF_A_NODE = 8
DEFAULT_PORT = 8000  # vLLM's
READY_AFTER_S = 1_200  # what a server has to fetch its weights and load them
# SkyPilot takes any name without a word, and then finds no machine: https://docs.skypilot.co.
_ACCELERATORS = {
    "a100_40gb": "A100",
    "a100_80gb": "A100-80GB",
    "a10": "A10",
    "a10g": "A10G",
    "b200": "B200",
    "h100_80gb": "H100",
    "h200": "H200",
    "l4": "L4",
    "l40s": "L40S",
    "t4": "T4",
    "v100_16gb": "V100",
    "v100_32gb": "V100-32GB",
}
_END_OF_PARAMETERS = "END_OF_PARAMETERS"


def render_skypilot(job: AnyJob) -> str:
    """Return the text of the task's YAML file.

    :raises ConfigError: the job asks for a GPU that SkyPilot has no name for, or does not say
        which.
    """
    nodes, resources = _resources(job.compute)
    resources["image_id"] = f"docker:{job.image}"
    task: dict[str, Any] = {"name": job.name, "num_nodes": nodes, "resources": resources}
    if isinstance(job, Deployment):
        port = _port(job.command)
        resources["ports"] = port
        task["service"] = {
            "readiness_probe": {"path": "/health", "initial_delay_seconds": READY_AFTER_S},
            "replicas": job.replicas,
        }
    else:
        if job.scheduling.preemptible:
            resources["use_spot"] = True
        if job.scheduling.max_retries:
            resources["job_recovery"] = {"max_restarts_on_errors": job.scheduling.max_retries}
    task["envs"] = {"RUN_NAME": job.name, **environment_of(job), **job.env_variables}
    if setup := _setup(job):
        task["setup"] = setup
    task["run"] = _run(job)
    launched = "sky serve up" if isinstance(job, Deployment) else "sky jobs launch"
    header = f"# Rendered by `codeqa run --to skypilot`; launch it with `{launched} FILE`."
    return f"{header}\n{to_yaml(task)}"


def _resources(compute: Compute) -> tuple[int, dict[str, Any]]:
    """Return how many machines, and what each of them has."""
    gpus = compute.gpus or 0
    nodes = compute.nodes or max(1, -(-gpus // GPUS_OF_A_NODE))
    resources: dict[str, Any] = {}
    if gpus:
        if gpus % nodes:
            raise ConfigError(f"{gpus} GPUs cannot be spread evenly over {nodes} machines")
        resources["accelerators"] = {_accelerator(compute.gpu_type): gpus // nodes}
    if compute.cpus:
        resources["cpus"] = f"{compute.cpus}+"
    return nodes, resources


def _accelerator(gpu_type: str | None) -> str:
    if name := _ACCELERATORS.get(gpu_type or ""):
        return name
    given = f"not {gpu_type!r}" if gpu_type else "which the job does not say"
    raise ConfigError(
        f"SkyPilot must be told `compute.gpu_type`, one of {', '.join(_ACCELERATORS)}; {given}"
    )


def _port(command: str) -> int:
    match = re.search(r"--port[ =](\d+)", command)
    return int(match[1]) if match else DEFAULT_PORT


def _setup(job: AnyJob) -> str:
    """Return what is done once on each machine; done again, it changes nothing."""
    lines = []
    for integration in job.integrations:
        packages = shlex.join(integration.packages or ())
        if integration.integration_type == "git_repo":
            lines += _clone_lines(integration)
        elif integration.integration_type == "pip_packages":
            upgrade = "--upgrade " * bool(integration.upgrade)
            lines.append(f"pip install {upgrade}{packages}")
        elif integration.integration_type == "apt_packages":
            as_root = "$(command -v sudo || true)"
            lines.append(f"{as_root} apt-get update && {as_root} apt-get install -y {packages}")
    return "\n".join(["set -euo pipefail", *lines, ""]) if lines else ""


def _clone_lines(integration: Integration) -> list[str]:
    folder = shlex.quote(str(integration.folder))
    url = shlex.quote(clone_url(integration))
    lines = []
    if integration.git_commit:
        commit = shlex.quote(integration.git_commit)
        lines += [
            f"test -d {folder} || git init --quiet {folder}",
            f"git -C {folder} fetch --quiet --depth 1 {url} {commit}",
            f"git -C {folder} checkout --quiet --force FETCH_HEAD",
        ]
    else:
        named = integration.git_branch
        branch = f"--branch {shlex.quote(named)} " if named else ""
        lines.append(f"test -d {folder} || git clone --depth 1 {branch}{url} {folder}")
    if integration.pip_install:
        lines.append(f"(cd {folder} && pip install {integration.pip_install})")
    return lines


def _run(job: AnyJob) -> str:
    """Return the command, after what the platform does before it."""
    lines = ["set -euo pipefail"]
    if isinstance(job, Job):
        lines += [
            'export NUM_NODES="$SKYPILOT_NUM_NODES" NODE_RANK="$SKYPILOT_NODE_RANK"',
            'export MASTER_ADDR="$(head -n 1 <<< "$SKYPILOT_NODE_IPS")" MASTER_PORT=29500',
            'export PARAMETERS="$HOME/parameters.yaml"',
            f"cat > \"$PARAMETERS\" <<'{_END_OF_PARAMETERS}'",
            to_yaml(job.parameters).rstrip("\n"),
            _END_OF_PARAMETERS,
        ]
    return "\n".join([*lines, job.command])
