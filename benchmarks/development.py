"""The question sets that the ranking is developed on, and the repositories that they ask about."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.questions import (
    COMPOSER_COMMIT,
    COMPOSER_QUESTIONS,
    COMPOSER_SUFFIXES,
    MAX_FILES,
    composer_questions,
)
from data_tools.sources import SourceFile, open_source
from retrieval.questions import Question, read_questions, telling_questions

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class DevelopmentSet:
    """Questions about one repository at one commit.

    :param file: the questions; see `data/README.md`.
    :param headline: the metrics of `retrieval.evaluate` that it is judged by.
    """

    name: str
    repository: str
    commit: str
    file: Path
    headline: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where to clone the repository from."""
        return f"https://github.com/{self.repository}"

    def questions(self, location: str) -> list[Question]:
        """Read the questions; of composer's, those that cannot be answered by chance.

        :param location: a clone of the repository, or its URL.
        :raises SourceError: it cannot be read.
        """
        if self.file != COMPOSER_QUESTIONS:
            return read_questions(self.file)
        files = open_source(f"{location}@{self.commit}").files()
        texts = (
            file.text
            for file in files
            if isinstance(file, SourceFile) and file.path.endswith(COMPOSER_SUFFIXES)
        )
        return telling_questions(composer_questions(), texts, max_files=MAX_FILES)


_BY_FILE = ("file_ndcg@10", "file_recall@10", "line_hit@10")
_BY_LINE = ("line_ndcg@10", "line_hit@5")
_OCTOCODE = ("Muvon/octocode", "b1771ba48214ce7404ad7158e277eb60680912b4")
SETS = (
    DevelopmentSet(
        "composer",
        "mosaicml/composer",
        COMPOSER_COMMIT,
        COMPOSER_QUESTIONS,
        ("answer_in_context@1", "answer_in_context@5"),
    ),
    DevelopmentSet(
        "pylint",
        "pylint-dev/pylint",
        "44740e5e5cdd2b80321a4f0ed4254213d058b9f6",
        DATA / "repo_questions_pylint.jsonl",
        _BY_FILE,
    ),
    DevelopmentSet(
        "sphinx",
        "sphinx-doc/sphinx",
        "6c9e3209c4ebc81c7c09f6a30eeaa4651f32f461",
        DATA / "repo_questions_sphinx.jsonl",
        _BY_FILE,
    ),
    DevelopmentSet("octocode, code", *_OCTOCODE, DATA / "octocode_code.csv", _BY_LINE),
    DevelopmentSet("octocode, docs", *_OCTOCODE, DATA / "octocode_docs.csv", _BY_LINE),
)
