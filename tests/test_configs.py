"""Every job file that ships is valid, and the commands in it exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from app.cli import make_parser

ROOT = Path(__file__).parent.parent
JOBS = sorted((ROOT / "mcli_yamls").glob("*.yaml"))
KEYS = {"name", "image", "compute", "integrations", "env_variables", "command", "parameters"}


def test_there_are_jobs() -> None:
    assert JOBS


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_has_the_platform_s_keys_and_commands_that_parse(job: Path) -> None:
    config = yaml.safe_load(job.read_text("utf-8"))
    assert set(config) <= KEYS
    assert {"name", "image", "command"} <= set(config)
    commands = re.findall(r"^\S*codeqa (.+)$", config["command"], re.MULTILINE)
    assert commands
    for command in commands:
        make_parser().parse_args(shlex.split(command))
