"""How much of a repository is read: the bounds that keep a hostile one from doing harm.

All are generous: what people write by hand stays far below. A file beyond one of its own is left
out and listed with its reason. A repository beyond one of its own is refused whole, with what to
do about it; to index a part of it in silence would make answers wrong. What is fetched from the
web is bounded where that is done (`data_tools.web_fetch`, `data_tools.docs_crawl`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_tools.errors import SourceError

if TYPE_CHECKING:
    from data_tools.sources import SkippedFile, SourceFile

# Of a file.
MAX_FILE_BYTES = 1_000_000  # hand-written files are rarely a tenth of it
MAX_NOTEBOOK_BYTES = 10_000_000  # most of it is images, which are left out
MAX_CONFIG_BYTES = 100_000  # larger JSON and YAML is data, not configuration
MAX_LINE_CHARS = 5_000  # no one writes such a line by hand
MAX_PATH_CHARS = 1_000  # most file systems take a quarter of it
MAX_DEPTH = 100  # nested folders; deeper trees are made to do harm
MAX_IGNORE_BYTES = 50_000  # of a .gitignore or .codeqaignore; each path is held against all rules

# Of time, in seconds.
PARSE_TIMEOUT_S = 2.0  # a file; the largest that people write by hand take a fifth of it
LISTING_TIMEOUT_S = 300.0  # a commit's files; half a million take two seconds

# Of a repository, unless the environment says otherwise.
MAX_FILES = 1_000_000  # read or left out; the largest public repositories hold half a million
MAX_CHARACTERS = 4_000_000_000  # of text, which is some million chunks


@dataclass(frozen=True)
class RepositoryLimits:
    """What a repository may hold.

    :param files: read or left out.
    :param characters: of the text that is read.
    """

    files: int = MAX_FILES
    characters: int = MAX_CHARACTERS

    @classmethod
    def from_environment(cls) -> "RepositoryLimits":
        """Take `CODEQA_MAX_FILES` and `CODEQA_MAX_CHARACTERS`, or what holds without them.

        :raises SourceError: one of them is no number above 0.
        """
        return cls(
            _read_number("CODEQA_MAX_FILES", MAX_FILES),
            _read_number("CODEQA_MAX_CHARACTERS", MAX_CHARACTERS),
        )

    def hold(
        self, files: Iterator["SourceFile | SkippedFile"], location: object
    ) -> Iterator["SourceFile | SkippedFile"]:
        """Pass files on while they are within the limits.

        :param location: what to call the repository.
        :raises SourceError: they are beyond one.
        """
        characters = 0
        for count, file in enumerate(files, start=1):
            characters += len(getattr(file, "text", ""))
            if count > self.files:
                raise too_large(location, f"{self.files:,} files", "CODEQA_MAX_FILES")
            if characters > self.characters:
                size = f"{self.characters:,} characters of text"
                raise too_large(location, size, "CODEQA_MAX_CHARACTERS")
            yield file


def too_large(location: object, size: str, variable: str) -> SourceError:
    """Make the error that says how a repository above a limit can be read all the same."""
    return SourceError(
        f"{location} holds more than {size}; index a part of it as a folder of its own, "
        f"or set {variable} to a higher limit"
    )


def _read_number(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip().replace("_", "").replace(",", "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 18 or not int(text):
        raise SourceError(f"{name} must be a whole number above 0, not {text!r}")
    return int(text)
