"""What a job is: a YAML file in the form of MosaicML's command line, `mcli run` and `mcli deploy`.

`mcli` itself only warns of an unknown key and takes a value of any type, so that a typing error is
met an hour later, by a machine that was paid for. Here either is refused, with the key that was
meant. A file with `replicas` is a deployment, any other one is a run. Refused too are secrets: a
job file is committed, and its variables are shown by every platform that runs it.

The keys are those of mosaicml-cli 0.8.3, without the deprecated ones and those of its own model
server.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import Field, StringConstraints, field_validator, model_validator

from training.config import Number
from training.strict import Strict, apply_overrides, read_yaml, validate

MAX_NAME_CHARS = 56  # a name of Kubernetes has 63, and the platform appends 7
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_IMAGE = re.compile(
    r"([a-z0-9.-]+(:\d+)?/)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*"
    r"(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_SECRET_VARIABLE = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIALS?|(API|ACCESS|PRIVATE)_KEY)$", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
# What each kind of integration takes: what it needs, and what it may have besides.
_INTEGRATIONS: dict[str, tuple[set[str], set[str]]] = {
    "git_repo": (
        {"git_repo"},
        {"git_branch", "git_commit", "path", "pip_install", "ssh_clone", "host"},
    ),
    "pip_packages": ({"packages"}, {"upgrade"}),
    "apt_packages": ({"packages"}, set()),
    "mlflow": ({"experiment_name"}, {"tracking_uri"}),
    "wandb": ({"project", "entity"}, {"group", "job_type", "tags"}),
    "comet_ml": (set(), {"project", "workspace"}),
}


class Compute(Strict):
    """Machines.

    :param gpus: of all machines together; 0 for none.
    :param nodes: how many machines; default as few as have the GPUs, 8 on each.
    :param gpu_type: such as `h100_80gb`.
    """

    cluster: str | None = None
    instance: str | None = None
    nodes: int | None = Field(None, ge=1)
    node_names: list[str] | None = None
    gpu_type: str | None = None
    gpus: int | None = Field(None, ge=0)
    cpus: int | None = Field(None, ge=1)


class Scheduling(Strict):
    """When, and how often.

    :param max_retries: how often a command that failed is started again.
    :param max_duration: hours after which it is stopped.
    """

    priority: Literal["auto", "low", "lowest"] | None = None
    preemptible: bool | None = None
    retry_on_system_failure: bool | None = None
    max_retries: int | None = Field(None, ge=0)
    max_duration: Number | None = Field(None, gt=0)


class Integration(Strict):
    """What is set up before the command: a repository, packages, where runs are recorded.

    :param git_repo: `ORGANIZATION/REPOSITORY` on `host`.
    :param path: folder of the clone, in the folder that the command starts in; default the
        repository's name.
    :param pip_install: words for `pip install`, run in the clone.
    """

    integration_type: Literal[
        "git_repo", "pip_packages", "apt_packages", "mlflow", "wandb", "comet_ml"
    ]
    git_repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+)+$")] | None = None
    git_branch: str | None = None
    git_commit: str | None = None
    path: str | None = None
    pip_install: str | None = None
    ssh_clone: bool | None = None
    host: str | None = None
    packages: list[str] | None = Field(None, min_length=1)
    upgrade: bool | None = None
    experiment_name: str | None = None
    tracking_uri: str | None = None
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: list[str] | None = None
    workspace: str | None = None

    @model_validator(mode="after")
    def _keys_of_its_type(self) -> "Integration":
        needed, optional = _INTEGRATIONS[self.integration_type]
        given = self.model_fields_set - {"integration_type"}
        if missing := sorted(needed - given):
            raise ValueError(f"`{self.integration_type}` needs `{missing[0]}`")
        if wrong := sorted(given - needed - optional):
            known = ", ".join(sorted(needed | optional))
            raise ValueError(f"`{self.integration_type}` takes no `{wrong[0]}`; it takes {known}")
        return self

    @property
    def folder(self) -> PurePosixPath:
        """Where a `git_repo` is cloned to, seen from the folder that the command starts in."""
        return PurePosixPath(self.path or (self.git_repo or "").rpartition("/")[2])


class Submission(Strict):
    """What runs and deployments share.

    :param image: container image; a run on this machine does without.
    :param command: for bash, ended by the first command that fails.
    """

    name: str
    image: str
    command: str
    compute: Compute = Compute()
    integrations: list[Integration] = []
    env_variables: dict[Annotated[str, StringConstraints(pattern=_VARIABLE)], str] = {}
    metadata: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
            raise ValueError(
                f"must be at most {MAX_NAME_CHARS} lower-case letters, digits and hyphens"
            )
        return name

    @field_validator("image")
    @classmethod
    def _check_image(cls, image: str) -> str:
        if not _IMAGE.fullmatch(image):
            raise ValueError("must be an image such as mosaicml/pytorch:latest")
        return image

    @field_validator("command")
    @classmethod
    def _check_command(cls, command: str) -> str:
        if not command.strip():
            raise ValueError("must not be empty")
        return command

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "Submission":
        for name, value in self.env_variables.items():
            if value and _SECRET_VARIABLE.search(name):
                raise ValueError(
                    f"`env_variables.{name}` looks like a secret, which no job file may hold; set "
                    f"it where `codeqa run` is started, or with `mcli create secret env`"
                )
        for place, text in _strings(self.model_dump(), ()):
            if _URL_PASSWORD.search(text):
                raise ValueError(
                    f"`{'.'.join(place)}` holds a password in a URL, which no job file may; give "
                    "it in a variable of the environment"
                )
        return self

    def to_yaml(self) -> str:
        """Write it as a job file, with the keys that were given."""
        content = self.model_dump(mode="json", exclude_unset=True)
        return to_yaml(content)


class Job(Submission):
    """A command that is run to its end.

    :param parameters: written to the YAML file that `$PARAMETERS` names.
    """

    scheduling: Scheduling = Scheduling()
    parameters: dict[str, Any] = {}


class Batching(Strict):
    """How a server gathers requests."""

    max_batch_size: int | None = Field(None, ge=1)
    max_timeout_ms: int | None = Field(None, ge=0)
    max_batch_size_in_bytes: int | None = Field(None, ge=1)


class Deployment(Submission):
    """A server that stays up.

    :param replicas: how many of it.
    :param rate_limit: requests a minute, at most.
    """

    replicas: int = Field(ge=1)
    batching: Batching | None = None
    rate_limit: int | None = Field(None, ge=1)


AnyJob: TypeAlias = Job | Deployment


def load_job(file: Path, overrides: Sequence[str] = ()) -> AnyJob:
    """Read a job file, and set what `overrides` say.

    :param overrides: `parameters.duration=200ba`, each.
    :raises ConfigError: the file or an override is not as it must be; the message says where.
    """
    content = apply_overrides(read_yaml(file), overrides)
    if "replicas" in content:
        return validate(Deployment, content, str(file))
    return validate(Job, content, str(file))


def to_yaml(content: dict[str, Any]) -> str:
    """Write a mapping as YAML, texts of several lines as such."""
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4_096)
    return f"{text.rstrip()}\n"  # which is left out after a last text of several lines


class _Dumper(yaml.SafeDumper):  # type: ignore[misc] # it ships without types
    """Writes texts of several lines as blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _strings(value: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """List every text within a value, with where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _strings(each, (*place, str(key)))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _strings(each, (*place, str(index)))
