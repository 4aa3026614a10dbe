"""`--parameters FILE`: options and arguments of a command from a YAML file.

A job's values stand under `parameters`, where they can be set one by one (`codeqa run --set`), and
reach the command as a file. Its keys are the command's own names, `concat_tokens` for
`--concat-tokens`; a key that is none is refused, with the one that was meant. What is given on the
command line itself counts more; arguments of the file come after those that stand there first.
"""

import argparse
import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_tools.errors import ConfigError

OPTION = "--parameters"


def expand_parameters(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Put what the file of `--parameters` holds in the place of this option.

    :param words: of the command line.
    :raises ConfigError: the file cannot be read, or holds a key or value that is no option's.
    """
    file, given = _take_option(words)
    if file is None:
        return list(words)
    from training.strict import read_yaml

    command, depth = _find_command(parser, given)
    if _commands_of(command):  # one is missing or unknown, as the parser will say
        return given
    arguments: dict[argparse.Action, list[str]] = {}
    options: list[str] = []
    for key, value in read_yaml(Path(file)).items():
        action = _find_action(command, str(key), file)
        if not action.option_strings:
            arguments[action] = _texts(value, str(key), file)
        elif not _is_given(action, given[depth:]):
            options += _as_words(action, value, str(key), file)
    in_order = (arguments.get(action, []) for action in command._actions)
    first = depth
    while first < len(given) and not given[first].startswith("-"):
        first += 1
    end = given.index("--") if "--" in given else len(given)  # of what can be an option
    # Options stand last, as one that takes several values would take what follows it too.
    ours = [*given[:first], *itertools.chain(*in_order), *given[first:end], *options]
    return [*ours, *given[end:]]


def _take_option(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the file of `--parameters`, and the other words."""
    rest: list[str] = []
    file = None
    remaining = iter(words)
    for word in remaining:
        if word == OPTION:
            file = next(remaining, None)
            if file is None:  # the parser says what is wrong with it
                return None, list(words)
        elif word.startswith(f"{OPTION}="):
            file = word.removeprefix(f"{OPTION}=")
        else:
            rest.append(word)
    return file, rest


def _find_command(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.ArgumentParser, int]:
    """Return the parser of the command that is called, and how many words name it."""
    depth = 0
    for word in words:
        if word not in _commands_of(parser):
            break
        parser = _commands_of(parser)[word]
        depth += 1
    return parser, depth


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands of a command."""
    choices = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    return dict(next(choices, {}))


def _find_action(command: argparse.ArgumentParser, key: str, file: str) -> argparse.Action:
    option = f"--{key.replace('_', '-')}"
    known = {}
    for action in command._actions:
        names = [name for name in action.option_strings if name.startswith("--")]
        for name in names or [action.dest]:
            known[name] = action
    del known["--help"], known[OPTION]
    if found := known.get(option, known.get(key)):
        return found
    keys = [name.removeprefix("--").replace("-", "_") for name in known]
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    hint = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(sorted(keys))}"
    raise ConfigError(f"{file}: `{command.prog}` takes no `{key}`; {hint}")


def _is_given(action: argparse.Action, words: Sequence[str]) -> bool:
    names = action.option_strings
    return any(word in names or word.partition("=")[0] in names for word in words)


def _as_words(action: argparse.Action, value: object, key: str, file: str) -> list[str]:
    """Write an option and its value as words of a command line."""
    option = action.option_strings[-1]
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ConfigError(f"{file}: `{key}` must be true or false, not {value!r}")
        return [option] if value else []
    texts = _texts(value, key, file)
    if isinstance(value, list) and action.nargs is None:  # given once for each
        return [f"{option}={text}" for text in texts]
    return [option, *texts] if isinstance(value, list) else [f"{option}={texts[0]}"]


def _texts(value: Any, key: str, file: str) -> list[str]:  # noqa: ANN401 - any YAML value
    values = value if isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            raise ConfigError(f"{file}: `{key}` must be a text or a number, not {each!r}")
    return [str(each) for each in values]
