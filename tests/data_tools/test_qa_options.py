"""Flags and keys are told by their help and comments; what says nothing is left out."""

from pathlib import Path

from tests.data_tools.qa_mining import answers, mine, write

FLAGS = """\
import argparse

parser = argparse.ArgumentParser()
parser.add_argument(
    "-k",
    "--passages",
    type=int,
    default=8,
    help="how many passages to show "
    "(default: %(default)s)",
)
parser.add_argument("--mode", choices=["fast", "exact"], help="search")
parser.add_argument("file", help="the file that is read first")
parser.add_argument("--verbose", help=VERBOSE_HELP)
"""
YAML = """\
# Limits of the service, for all of its clients.
rate: 2  # tokens that a client gains each second
capacity: 10
search:
  # How long a client waits at most, in seconds.
  patience: 30

  # burst: 5
  size: 3  # TODO
"""


def test_flags_are_told_with_purpose_default_and_choices(tmp_path: Path) -> None:
    assert answers(mine(write(tmp_path / "repo", {"cli.py": FLAGS}), "option").pairs) == {
        "What is the option `--passages` for?": "How many passages to show.",
        "What is the default of the option `--passages`?": "It defaults to `8`.",
        "Which values does the option `--mode` take?": '`"fast"` and `"exact"`.',
    }


def test_a_flag_of_two_programs_is_asked_about_with_its_file(tmp_path: Path) -> None:
    lines = 'p.add_argument("--out", help="folder of all the {} made")\n'
    files = {f"{name}.py": lines.format(name) for name in ("pages", "books")}
    assert answers(mine(write(tmp_path / "repo", files), "option").pairs) == {
        f"What is the option `--out` in `{name}.py` for?": f"Folder of all the {name} made."
        for name in ("books", "pages")
    }


def test_keys_are_told_by_the_comment_beside_or_right_above(tmp_path: Path) -> None:
    assert answers(mine(write(tmp_path / "repo", {"limits.yaml": YAML}), "option").pairs) == {
        "What is `rate` in `limits.yaml` for?": "Tokens that a client gains each second.",
        "What is `search.patience` in `limits.yaml` for?": "How long a client waits at most, in "
        "seconds.",
    }
