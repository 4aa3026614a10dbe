"""Running git so that nothing a repository or the caller's surroundings hold can act.

A repository's own configuration can name programs to run: hooks, filters, monitors, signature
checkers. Those that the few commands used here would run are overridden through git's
environment, which outranks every file.
"""

import contextlib
import errno
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import git

STALL_S = 30  # a transfer below 1 kB/s for this long is given up
_SAFE_CONFIG = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", str(STALL_S)),
    ("protocol.ext.allow", "never"),
    ("transfer.bundleURI", "false"),  # no other host that the server names is asked
    ("fetch.uriProtocols", ""),
    ("safe.bareRepository", "all"),  # our own clones are bare
)
# Git hands these to hooks and aliases; they would redirect our commands to its repository.
_INHERITED = (
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE "
    "GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_PREFIX GIT_SHALLOW_FILE GIT_GRAFT_FILE".split()
)

SSH_QUIET = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={STALL_S}")

Config = tuple[tuple[str, str], ...]


@contextlib.contextmanager
def open_git(folder: Path, *, environment: dict[str, str] | None = None) -> Iterator[git.Git]:
    """Run commands in the repository `folder`, and never in one that encloses it.

    Variables by which a git hook names its repository are removed from this process.

    :param environment: as `network_environment` makes it; by default no network can be reached.
    """
    for name in _INHERITED:
        os.environ.pop(name, None)
    command = git.Git(folder)
    command.update_environment(
        **(environment or _environment((), protocols="none")),
        GIT_CEILING_DIRECTORIES=str(folder.parent),
    )
    try:
        yield command
    finally:
        command.clear_cache()  # ends `cat-file --batch`


def make_bare_repository(folder: Path) -> None:
    """Make an empty repository at `folder`, or leave the one that is there.

    :raises OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_git(folder) as command:
        try:
            command.init("--bare", "--quiet", "--template=")
        except git.CommandError as error:
            reason = str(error.stderr).strip(" '\n").splitlines()[-1]
            raise OSError(errno.ENOSPC if "No space" in reason else errno.EIO, reason) from error


def network_environment(extra_config: Config = (), *, protocols: str) -> dict[str, str]:
    """Allow the network, without a prompt that would block where no one can see it.

    :param protocols: which may be spoken, with colons between them.
    """
    environment = _environment(extra_config, protocols=protocols)
    if not sys.stdin or not sys.stdin.isatty():
        environment["GIT_ASKPASS"] = ""
        if not has_ssh_command():
            environment["GIT_SSH_COMMAND"] = shlex.join(("ssh", *SSH_QUIET))
    return environment


def has_ssh_command() -> bool:
    """Tell whether the user has git run a command of their own for ssh."""
    if "GIT_SSH_COMMAND" in os.environ or "GIT_SSH" in os.environ:
        return True
    return bool(user_setting("--get", "core.sshCommand"))


def user_setting(*question: str) -> str:
    """Ask for a setting of the user's, not of a repository that this process stands in.

    :param question: as `git config` takes it.
    :return: the answer; empty if there is none.
    """
    with contextlib.suppress(git.CommandError):
        return str(git.Git(os.sep).config(*question))
    return ""


def _environment(extra_config: Config, *, protocols: str) -> dict[str, str]:
    environment = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",  # what a host shows at a commit, not its stand-in
        "LC_ALL": "C",  # errors are told apart by their messages
    }
    return environment | _config_variables(_SAFE_CONFIG + extra_config, os.environ)


def _config_variables(config: Config, given: Mapping[str, str]) -> dict[str, str]:
    """Pass settings to git, after those that are `given`: the last one holds."""
    count = given.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isdecimal() else 0
    variables = {"GIT_CONFIG_COUNT": str(first + len(config))}
    for index, (key, value) in enumerate(config, first):
        variables[f"GIT_CONFIG_KEY_{index}"] = key
        variables[f"GIT_CONFIG_VALUE_{index}"] = value
    return variables


@contextlib.contextmanager
def ended(process: git.Git.AutoInterrupt) -> Iterator[None]:
    """End a process of git's and close its pipes when the block ends, however it does."""
    try:
        yield
    finally:
        running = process.proc
        if running is not None:
            for pipe in (running.stdin, running.stdout, running.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not written is not wanted
                        pipe.close()
            running.terminate()
            running.wait()


def disable_filters(command: git.Git) -> None:
    """Keep git from running the filters of the repository's configuration, for good."""
    try:
        listing = str(command.config("-z", "--name-only", "--get-regexp", r"^filter\."))
    except git.CommandError:  # there are none
        return
    drivers = {name.rpartition(".")[0] for name in listing.split("\0") if name}
    config = tuple(
        (f"{driver}.{key}", value)
        for driver in drivers
        for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    )
    command.update_environment(**_config_variables(config, command.environment()))
