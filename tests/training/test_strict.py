"""YAML is read without guessing: twice the same key, no mapping, no YAML, no such value."""

from pathlib import Path

import pytest

from data_tools.errors import ConfigError
from training.strict import Strict, apply_overrides, read_yaml, validate


class Inner(Strict):
    count: int = 1
    names: list[str] = []


class Outer(Strict):
    inner: Inner = Inner()
    several: list[Inner] = []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3 is not valid YAML: `a` is given twice"),
        ("a: [1\n", "is not valid YAML"),
        ("- a\n", "must hold keys and values"),
        ("", "must hold keys and values"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message):
        read_yaml(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none.yaml .*check the path"):
        read_yaml(tmp_path / "none.yaml")


def test_overrides_leave_what_they_were_given_as_it_was() -> None:
    content = {"inner": {"count": 1}, "several": [{"count": 2}]}
    changed = apply_overrides(content, ["inner.count=5", "several.0.names=[a, b]"])
    assert changed == {"inner": {"count": 5}, "several": [{"count": 2, "names": ["a", "b"]}]}
    assert content == {"inner": {"count": 1}, "several": [{"count": 2}]}


@pytest.mark.parametrize("override", ["inner.count", "=3", "inner.count.deeper=3", "a=[1"])
def test_an_override_that_sets_nothing_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        apply_overrides({"inner": {"count": 1}}, [override])


def test_an_unknown_key_within_a_list_is_told_from_the_keys_there() -> None:
    with pytest.raises(ConfigError, match=r"unknown key `cuont` in `several.0`; did you mean `cou"):
        validate(Outer, {"several": [{"cuont": 1}]}, "file.yaml")


def test_types_are_not_converted() -> None:
    with pytest.raises(ConfigError, match=r"file.yaml: `inner.count`: .*valid integer, not '1'"):
        validate(Outer, {"inner": {"count": "1"}}, "file.yaml")
