"""A job file is what the platform takes, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from data_tools.errors import ConfigError
from training.job_schema import AnyJob, Deployment, Integration, Job, load_job

JOB: dict[str, Any] = {
    "name": "convert",
    "image": "mosaicml/pytorch:latest",
    "command": "echo done\n",
    "compute": {"gpus": 8, "gpu_type": "h100_80gb"},
    "scheduling": {"max_retries": 2, "priority": "low", "max_duration": 1},
    "integrations": [{"integration_type": "git_repo", "git_repo": "mosaicml/composer"}],
    "env_variables": {"SEED": "17"},
    "parameters": {"model": {"name": "some/model"}},
}


def load(folder: Path, *overrides: str, **changed: object) -> AnyJob:
    """Write a job with some keys changed, None for left out, and read it."""
    content = {key: value for key, value in {**JOB, **changed}.items() if value is not None}
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(content))
    return load_job(file, overrides)


def test_a_whole_job_is_read(tmp_path: Path) -> None:
    job = load(tmp_path)
    assert isinstance(job, Job)
    assert (job.compute.gpus, job.scheduling.max_duration) == (8, 1.0)
    assert job.parameters == {"model": {"name": "some/model"}}


def test_replicas_make_it_a_deployment(tmp_path: Path) -> None:
    job = load(tmp_path, replicas=2, parameters=None, scheduling=None)
    assert isinstance(job, Deployment)
    with pytest.raises(ConfigError, match="unknown key `parameters`"):
        load(tmp_path, replicas=2, scheduling=None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"env_variable": {}}, "unknown key `env_variable`; did you mean `env_variables`"),
        ({"volumes": []}, "unknown key `volumes`; known are command, compute"),
        ({"scheduling": {"max_retrys": 1}}, "unknown key `max_retrys` in `scheduling`; .*retries"),
        ({"compute": {"gpu_typ": "t4"}}, "unknown key `gpu_typ` in `compute`; did you .*gpu_type"),
        ({"gpu_num": 8}, "unknown key `gpu_num`"),  # deprecated: it stands in `compute`
        ({"compute": {"gpus": "8"}}, "`compute.gpus`: input should be a valid integer, not '8'"),
        ({"compute": {"gpus": -1}}, "`compute.gpus`"),
        ({"scheduling": {"max_retries": True}}, "`scheduling.max_retries`"),
        ({"scheduling": {"priority": "urgent"}}, "`scheduling.priority`: .*'lowest'"),
        ({"env_variables": {"SEED": 17}}, "`env_variables.SEED`: .*string, not 17"),
        ({"env_variables": {"MY-SEED": "17"}}, "env_variables.*pattern"),
        ({"command": " \n"}, "`command`: must not be empty"),
        ({"command": None}, "`command` is missing"),
        ({"image": "Not An Image"}, "`image`: must be an image"),
        ({"name": "My_Job"}, "`name`: must be at most 56 lower-case"),
        ({"name": "a" * 57}, "`name`: must be at most 56"),
        ({"parameters": ["a"]}, "`parameters`"),
        ({"integrations": [{"integration_type": "git"}]}, "`integrations.0.integration_type`"),
        (
            {"integrations": [{"integration_type": "git_repo", "git_branch": "main"}]},
            "`integrations.0`: `git_repo` needs `git_repo`",
        ),
        (
            {"integrations": [{"integration_type": "pip_packages", "package": ["numpy"]}]},
            "unknown key `package` in `integrations.0`; did you mean `packages`",
        ),
        (
            {
                "integrations": [
                    {"integration_type": "pip_packages", "packages": ["numpy"], "path": "x"}
                ]
            },
            "`pip_packages` takes no `path`; it takes packages, upgrade",
        ),
    ],
)
def test_what_is_wrong_is_named_on_one_line(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        load(tmp_path, **changed)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"env_variables": {"HF_TOKEN": "hf_abcdef"}},
        {"env_variables": {"AWS_SECRET_ACCESS_KEY": "hf_abcdef"}},
        {"parameters": {"tracking": {"uri": "https://me:hf_abcdef@example.org"}}},
        {"command": "git clone https://me:hf_abcdef@example.org/x"},
    ],
)
def test_a_secret_is_refused_and_not_repeated(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secret|password") as raised:
        load(tmp_path, **changed)
    assert "hf_abcdef" not in str(raised.value)


def test_a_limit_of_tokens_is_no_secret(tmp_path: Path) -> None:
    assert load(tmp_path, env_variables={"MAX_TOKENS": "8", "TOKENIZERS_PARALLELISM": "true"})


def test_overrides_are_set_and_checked(tmp_path: Path) -> None:
    job = load(tmp_path, "parameters.model.name=other/model", "compute.gpus=1")
    assert isinstance(job, Job)
    assert (job.parameters["model"]["name"], job.compute.gpus) == ("other/model", 1)
    with pytest.raises(ConfigError, match="`compute.gpus`"):
        load(tmp_path, "compute.gpus=many")


def test_a_job_is_written_as_it_was_read(tmp_path: Path) -> None:
    job = load(tmp_path)
    text = job.to_yaml()
    assert yaml.safe_load(text) == JOB
    (tmp_path / "again.yaml").write_text(text)
    assert load_job(tmp_path / "again.yaml") == job
    assert text.endswith("\n")


def test_a_clone_s_folder_is_its_path_or_the_repository_s_name() -> None:
    named = Integration(integration_type="git_repo", git_repo="mosaicml/composer")
    placed = Integration(integration_type="git_repo", git_repo="mosaicml/composer", path="a/b")
    assert (str(named.folder), str(placed.folder)) == ("composer", "a/b")
