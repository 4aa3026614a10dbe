"""YAML files read into strict records: a typing error is refused, with the key that was meant.

Used for tuning configurations and for job files alike. Nothing is guessed: an unknown key, a value
of another type and a duplicate key are errors that name the place in the file.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from data_tools.errors import ConfigError

Record = TypeVar("Record", bound="Strict")

MAX_VALUES = 100_000  # of a file; aliases can make a few lines stand for more than memory holds
MAX_DEPTH = 50  # of values in values; configurations have six
# What PyYAML raises where a value is not what its form says: `2026-13-45`, `!!int x`.
_FAULTS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Strict(BaseModel):
    """A record that refuses unknown keys and wrong types, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _UniqueKeyLoader(yaml.SafeLoader):  # type: ignore[misc] # it ships without types
    """Refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, list | dict):
                if key in seen:
                    mark = key_node.start_mark
                    raise yaml.constructor.ConstructorError(
                        None, None, f"`{key}` is given twice", mark
                    )
                seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping; `FILE#KEY` is the mapping that stands at this key.

    :raises ConfigError: it cannot be read, is no YAML, gives a key twice, or is no mapping.
    """
    path, sign, key = str(file).rpartition("#")
    if sign and not file.exists():
        content = read_yaml(Path(path)).get(key)
        if not isinstance(content, dict):
            raise ConfigError(f"{path} has no keys and values at `{key}`")
        return content
    try:
        content = _UniqueKeyLoader(file.read_text("utf-8")).get_single_data()
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error.strerror}); check the path") from error
    except _FAULTS as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        is_text = not isinstance(error, UnicodeDecodeError)
        fault = "a value cannot be read" if is_text else "it is not UTF-8 text"
        reason = getattr(error, "problem", None) or fault
        raise ConfigError(f"{file}{place} is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must hold keys and values, such as `seed: 17`")
    _refuse_endless(content, file)
    return content


def _refuse_endless(content: dict[str, Any], file: Path) -> None:
    """Refuse what has no end, or none in sight: values that hold themselves, or each other."""
    stack: list[tuple[Any, int]] = [(content, 0)]
    count = 0
    while stack:
        value, depth = stack.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise ConfigError(
                f"{file} holds more than {MAX_VALUES:,} values, or more than {MAX_DEPTH} in each "
                "other; check its aliases (`*name`)"
            )
        held = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list):
            stack.extend((each, depth + 1) for each in held)


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set keys of a nested mapping from `a.b=value`; values are YAML.

    :return: a new mapping; lists are replaced whole, or entered by number (`streams.0.weight=2`).
    :raises ConfigError: an override has no `=`, or goes through what is no mapping.
    """
    result: dict[str, Any] = _copy(content)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(f"{override!r} must look like optimizer.learning_rate=1e-4")
        try:
            value = yaml.safe_load(text)
        except _FAULTS as error:
            raise ConfigError(f"the value of {override!r} is not valid YAML") from error
        *parents, last = path.split(".")
        place: Any = result
        for parent in parents:
            if isinstance(place, list) and parent.isdecimal() and int(parent) < len(place):
                place = place[int(parent)]
                continue
            if not isinstance(place, dict):
                raise ConfigError(f"{override!r} goes through `{parent}`, which holds no keys")
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
        if isinstance(place, list) and last.isdecimal() and int(last) < len(place):
            place[int(last)] = value
        elif isinstance(place, dict):
            place[last] = value
        else:
            raise ConfigError(f"{override!r} goes through a value that holds no keys")
    return result


def validate(model: type[Record], content: dict[str, Any], source: str) -> Record:
    """Check a mapping against a record.

    :param source: what to call it in an error: the file's name.
    :raises ConfigError: an unknown key (with the one that was probably meant), a missing one, or a
        wrong value; one line for the first fault.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(model, error)}") from error


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    # An unknown key comes first: what it was meant to be may be reported missing too.
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    place = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        key = place[-1]
        known = _keys_at(model, place[:-1])
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(sorted(known))}"
        inside = f" in `{'.'.join(place[:-1])}`" if place[:-1] else ""
        return f"unknown key `{key}`{inside}; {hint}"
    if fault["type"] == "missing":
        return f"`{'.'.join(place)}` is missing"
    message = fault["msg"].removeprefix("Value error, ")
    if not place:
        return message
    given = fault["input"]
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool | None) else ""
    return f"`{'.'.join(place)}`: {message[:1].lower()}{message[1:]}{shown}"


def _keys_at(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    """List the keys of the record that stands at `place` within `model`."""
    current: Any = model
    for part in place:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = _record_within(fields[part].annotation)
    fields = getattr(current, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _record_within(annotation: Any) -> Any:  # noqa: ANN401 - a type expression
    """Find the record in `Record`, `Record | None`, `tuple[Record, ...]` or `dict[str, Record]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _record_within(argument)) is not None:
            return found
    return None


def _copy(value: Any) -> Any:  # noqa: ANN401 - any YAML value
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value
