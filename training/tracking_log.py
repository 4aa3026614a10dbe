"""A run's log and settings in the form that MLflow takes: numbers by step, short texts by name."""

import hashlib
import itertools
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from training.mlflow_store import without_password

if TYPE_CHECKING:
    from mlflow.entities import Metric

MAX_VALUE_CHARS = 500  # of a parameter; longer ones are whole in `config.yaml`
LINES_AT_ONCE = 100
_NOT_METRICS = {"step", "time"}
Item = TypeVar("Item")


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a nested mapping's values under dotted names, as MLflow takes them.

    None and empty values are left out, and passwords of addresses; long values are cut, which is
    shown by an ellipsis.
    """
    for key, value in nested.items():
        name = re.sub(r"[^\w.\-:/ ]", "_", f"{prefix}{key}")
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield from flatten({str(at): item for at, item in enumerate(value)}, f"{name}.")
        elif value not in (None, [], ""):
            yield name, shorten(value)


def shorten(value: object) -> str:
    """Write a value as text without passwords, cut if it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = without_password(text)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"


def to_metrics(line: Mapping[str, Any]) -> "Iterator[Metric]":
    """Yield the numbers of a line of the log, but infinite ones."""
    from mlflow.entities import Metric

    time_s = line.get("time")
    stamp_ms = int((time_s if isinstance(time_s, int | float) else time.time()) * 1000)
    for key, value in line.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and key not in _NOT_METRICS and not math.isinf(value):
            yield Metric(
                re.sub(r"[^\w.\-:/ ]", "_", key), float(value), stamp_ms, step_of_line(line)
            )


def step_of_line(line: Mapping[str, Any]) -> int:
    """The step that a line of the log is of; 0 where it says none."""
    step = line.get("step")
    return step if isinstance(step, int) else 0


def read_lines(file: Path, offset: int) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield a log's whole lines from a byte on, some at a time, and the byte after them."""
    try:
        with file.open("rb") as log:
            log.seek(offset)
            whole = itertools.takewhile(lambda line: line.endswith(b"\n"), log)
            for batch in batched(whole, LINES_AT_ONCE):
                offset += sum(map(len, batch))
                yield [_parse(line) for line in batch], offset
    except FileNotFoundError:
        return


def hash_first_line(file: Path) -> str:
    """What tells one attempt from another in the same folder; "" where there is no log."""
    try:
        with file.open("rb") as log:
            return hash_bytes(log.readline())
    except FileNotFoundError:
        return ""


def hash_bytes(content: bytes) -> str:
    """SHA-256 as hex digits."""
    return hashlib.sha256(content).hexdigest()


def offset_of(file: Path, lines: int) -> int:
    """The byte after so many lines."""
    try:
        with file.open("rb") as log:
            return sum(len(line) for line in itertools.islice(log, lines))
    except FileNotFoundError:
        return 0


def _parse(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError:  # a line that a crash cut in two
        return {}
    return content if isinstance(content, dict) else {}


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield items in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def read_json(file: Path) -> dict[str, Any]:
    """Read a file that holds one object; nothing, where it cannot be read."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
