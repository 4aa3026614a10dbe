"""What the commits of a repository say and which definitions they changed.

Subjects are read from git objects with plumbing commands alone, so that no hook, filter, textual
converter or signature checker runs. Merges, releases, reverts and commits that touch many files
are left out: their subjects describe no place in the code. Definitions are those that the
snapshot still has, under the same path and name.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import git

from data_tools.docstrings import Definition, find_definitions
from data_tools.git_commands import open_git
from data_tools.secrets import redact
from data_tools.sentences import is_worth_asking, strip_markup
from data_tools.snapshot import GitSnapshot, read_object
from data_tools.sources import SourceFile, make_source_file

MAX_FILES = 5  # that a commit touches
MAX_DIFF_BYTES = 100_000  # of one commit; larger ones move code or add data
MAX_TYPE_LINES = 80  # of a class taken as changed where no function of it was
MAX_FUNCTION_LINES = 200  # of one taken as changed; a subject says little of a longer one
MAX_SUBJECT_CHARS = 200  # longer ones are whole messages
MAX_BLOB_BYTES = 500_000  # of a file as it was

_ZERO = "0" * 40
_PREFIX = re.compile(
    r"^(?:\[[^]]*\]\s*|(?:fix|feat|feature|bug|bugfix|refactor|perf|style|chore|enh|enhancement|"
    r"improvement)(?:\([^)]*\))?!?:\s*|[A-Z]+-\d+:?\s+|(?:fix(?:es)?|close[sd]?|refs?|issue)\s+#\d+:?\s*"
    r"[-:,]*\s*|#\d+:?\s*)+",
    re.I,
)
_SUFFIX = re.compile(
    r"\s*(?:\((?:[\w./-]*#\d+|gh-\d+)[^)]*\)|[,;]?\s*(?:fix(?:es)?|close[sd]?|see|refs?)?"
    r"\s*#\d+|\[[^]]*\])\s*$",
    re.I,
)
_UNTELLING = re.compile(
    r"(?:merge|bump|releas|revert|version|v?\d+\.\d+|prepare|wip\b|typo|lint|ci\b|docs?\b|"
    r"tests?\b|\[?pre-commit|upgrade|dependabot|changelog|minor|clean ?up|address|review|"
    r"more |some |another |remove unused|run |pin |unpin |chore|deps|build\(|cosmetic|pep ?8|"
    r"black\b|add (?:tests?|changelog|doc)|apply (?:suggest|review|black)|extend tests?|"
    r"format\w* (?:code|file)|"
    r"update (?:version|change|doc|readme|depend|require|translation|message|copyright)|"
    r"fix (?:typo|lint|test|ci|doc|flake|mypy|pylint|pyright|build))",
    re.I,
)
_HOUSEKEEPING = re.compile(
    r"\b(?:ruff|flake8|mypy|pyright|isort|pre-commit|pyupgrade|clippy|eslint|"
    r"type (?:annotations?|hints?)|(?:unit )?tests?|typos?|docstrings?|lint\w*|warnings?)$|"
    r"\b(?:ruff|flake8|clippy)\b",
    re.I,
)
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Change:
    """A commit's subject and the definitions it changed, as the snapshot has them."""

    subject: str
    definitions: tuple[Definition, ...]


@dataclass(frozen=True)
class _Commit:
    sha: str
    subject: str


def find_changes(
    snapshot: GitSnapshot, definitions: Mapping[str, Sequence[Definition]], *, limit: int
) -> Iterator[Change]:
    """Find the commits that changed definitions which are still there, newest first.

    :param definitions: those of the snapshot, by path.
    :param limit: how many commits are looked at.
    """
    with open_git(snapshot.git_folder) as command:
        commits = list(_list_commits(command, snapshot.repository.commit, limit))
        count = Counter(commit.subject.lower() for commit in commits)
        for commit in commits:
            if count[commit.subject.lower()] > 1:
                continue
            try:
                found = _changed(command, snapshot, commit.sha, definitions)
            except git.CommandError:  # the parent is beyond a shallow clone's end
                continue
            if found:
                yield Change(commit.subject, tuple(found))


def _list_commits(command: git.Git, newest: str, limit: int) -> Iterator[_Commit]:
    listing = str(
        command.rev_list(
            "--no-merges",
            "--parents",
            "--format=%s",
            "--encoding=UTF-8",
            f"--max-count={limit}",
            newest,
        )
    )
    lines = iter(listing.split("\n"))
    for head, subject in zip(lines, lines, strict=False):
        _, sha, *parents = head.split()
        cleaned = clean_subject(redact(subject).text)
        if cleaned and parents:
            yield _Commit(sha, cleaned)


def clean_subject(subject: str) -> str | None:
    """Leave the words of a commit's subject; None if they describe no place in the code."""
    if len(subject) > MAX_SUBJECT_CHARS:
        return None
    text = _PREFIX.sub("", " ".join(subject.split()))
    while (shorter := _SUFFIX.sub("", text)) != text:
        text = shorter
    text = strip_markup(text).strip(" .")
    if not text or not text.isprintable() or subject.endswith(("…", "...")):
        return None
    if "<" in subject or _UNTELLING.match(text) or _HOUSEKEEPING.search(text):
        return None
    return text if is_worth_asking(text) else None


def _changed(
    command: git.Git,
    snapshot: GitSnapshot,
    sha: str,
    definitions: Mapping[str, Sequence[Definition]],
) -> list[Definition]:
    """List the definitions that a commit changed and that the snapshot has."""
    listing = str(command.diff_tree("-r", "--no-commit-id", "--no-renames", "-z", sha))
    fields = listing.split("\0")
    entries = list(zip(fields[::2], fields[1::2], strict=False))
    if not 0 < len(entries) <= MAX_FILES:
        return []
    found: dict[Definition, None] = {}
    for head, path in entries:
        blob = head.split()[3]
        if path not in definitions or blob == _ZERO:
            continue
        rows = _changed_rows(command, sha, path)
        names = _names_at(command, snapshot, blob, path, rows)
        found.update(
            dict.fromkeys(
                each
                for each in definitions[path]
                if each.symbol in names and each.end_line - each.start_line < MAX_FUNCTION_LINES
            )
        )
    return list(found)


def _changed_rows(command: git.Git, sha: str, path: str) -> list[tuple[int, int]]:
    """Return (first, last) lines of a file that a commit changed, as it left them."""
    options = ("-p", "-U0", "--no-commit-id", "--no-renames", "--no-ext-diff", "--no-textconv")
    text = str(command.diff_tree(*options, sha, "--", f":(literal){path}"))
    if len(text) > MAX_DIFF_BYTES:
        return []
    hunks = (match for line in text.split("\n") if (match := _HUNK.match(line)))
    return [(int(m[1]), int(m[1]) + max(int(m[2] or 1), 1) - 1) for m in hunks]


def _names_at(
    command: git.Git, snapshot: GitSnapshot, blob: str, path: str, rows: list[tuple[int, int]]
) -> set[str]:
    """Name the innermost definitions that hold these lines of a file as it was."""
    if not rows:
        return set()
    data = read_object(command, blob, snapshot.git_folder)
    if len(data) > MAX_BLOB_BYTES:
        return set()
    file = make_source_file(snapshot.repository, path, data)
    if not isinstance(file, SourceFile):
        return set()
    names = set()
    known = find_definitions(file)
    for first, last in rows:
        inside = [each for each in known if each.start_line <= last and first <= each.end_line]
        whole = [each for each in inside if not each.is_type]
        small = [e for e in inside if e.is_type and e.end_line - e.start_line < MAX_TYPE_LINES]
        names |= {each.symbol for each in whole or small}
    return names
