"""What `codeqa status` says of an index."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.commands import count, print_json
from data_tools.clone import count_commits_behind
from data_tools.docs_site import last_read
from data_tools.errors import CodeQAError
from data_tools.hidden_text import show_on_one_line
from data_tools.secrets import FileSecrets, say_redacted
from data_tools.sources import is_site
from retrieval.generations import RepositoryRecord
from retrieval.index import CodeIndex

TOP_REASONS = 10
TOP_FILES = 20  # of those that secrets were taken out of
# Sizes and addresses, which set equal reasons apart.
_DETAILS = re.compile(r" \((?=[^()]*?(?:\d|://))[^()]*\)")


def print_status(
    folder: str, *, offline: bool, list_skipped: bool, as_json: bool, verify: bool = False
) -> None:
    """Print repositories, commits, counts, what was skipped and why, and the distance behind.

    :param offline: do not ask the remotes.
    :param list_skipped: every skipped file instead of a count by reason.
    :param verify: check every file against its hash first, large ones too.
    :raises CodeQAError: the index cannot be opened, or `verify` finds damage.
    """
    with CodeIndex.open(folder) as index:
        if verify:
            index.verify()
        records = [
            _describe(index, record, offline, list_skipped)
            for record in index.manifest.repositories
        ]
        if as_json:
            print_json(_summary(index) | {"repositories": records})
            return
        for record in records:
            _print_repository(record)
        summary = _summary(index)
        vectors = "with vectors" if index.vectors_ready else "words alone, vectors are not made yet"
        print(
            f"{folder}: {count(summary['chunks'], 'chunk')}, {vectors}, by {summary['embedder']}, "
            f"made {summary['created_at']}{', every file as it was written' if verify else ''}"
        )


def _summary(index: CodeIndex) -> dict[str, Any]:
    manifest = index.manifest
    return {
        "format": manifest.format,
        "embedder": manifest.embedder.name,
        "chunks": manifest.chunks,
        "vectors": manifest.vectors,
        "created_at": _moment(manifest.created_at),
    }


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")


def _describe(
    index: CodeIndex, record: RepositoryRecord, offline: bool, list_skipped: bool
) -> dict[str, Any]:
    skipped = index.skipped(record.name)
    behind: int | str | None = None
    read_at = last_read(record.repository) if is_site(record.location) else None
    if not offline:
        try:
            behind = count_commits_behind(record.repository)
        except CodeQAError as error:
            behind = str(error)
    details: dict[str, Any] = {
        "name": record.name,
        "location": record.location,
        "ref": record.ref,
        "commit": record.commit,
        "files": record.files,
        "chunks": record.chunks,
        "languages": dict(index.languages(record.name)),
        "skipped": dict(Counter(_DETAILS.sub("", file.reason) for file in skipped)),
        "redacted": _by_file(index.redacted(record.name)),
        "behind": behind,
    }
    if read_at is not None:
        details["read_at"] = _moment(read_at)
    if list_skipped:
        details["skipped_files"] = {file.path: file.reason for file in skipped}
    return details


def _by_file(secrets: Iterable[FileSecrets]) -> dict[str, dict[str, int]]:
    """Sort what was redacted by file: path → kind → how many."""
    files: dict[str, dict[str, int]] = {}
    for found in secrets:
        files.setdefault(found.path, {})[found.kind] = found.count
    return files


def _add_up(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    return sum(map(Counter, counts), Counter())


def _print_redacted(files: Mapping[str, Mapping[str, int]]) -> None:
    print(f"  {say_redacted(_add_up(files.values()))} in {count(len(files), 'file')}:")
    for path, kinds in list(files.items())[:TOP_FILES]:
        named = ", ".join(f"{kind}: {number:,}" for kind, number in kinds.items())
        print(show_on_one_line(f"    {path} ({named})"))
    if len(files) > TOP_FILES:
        print(f"    and {count(len(files) - TOP_FILES, 'file')} more; see --json")


def _print_repository(details: dict[str, Any]) -> None:
    ref = f" ({details['ref']})" if details["ref"] else ""
    head = f"{details['name']} @ {details['commit'][:12]}{ref}  {details['location']}"
    print(show_on_one_line(head))
    languages = ", ".join(f"{name} {count:,}" for name, count in details["languages"].items())
    print(f"  {count(details['files'], 'file')}, {count(details['chunks'], 'chunk')}: {languages}")
    behind = details["behind"]
    if isinstance(behind, str):
        print(show_on_one_line(f"  how far behind is not known: {behind}"))
    elif behind is not None:
        print(f"  {count(behind, 'commit')} behind" if behind else "  up to date")
    if "read_at" in details:  # only another crawl could tell what has changed since
        age = datetime.now(UTC) - datetime.fromisoformat(details["read_at"])
        ago = f"{count(age.days, 'day')} ago" if age.days else "today"
        print(f"  read {ago}; `codeqa index` reads it again and embeds what has changed")
    if details["redacted"]:
        _print_redacted(details["redacted"])
    if "skipped_files" in details:
        for path, reason in details["skipped_files"].items():
            print(show_on_one_line(f"  skipped {path}: {reason}"))
        return
    reasons = Counter(details["skipped"]).most_common(TOP_REASONS)
    for reason, number in reasons:
        print(f"  skipped {number:,}: {reason}")
    rest = sum(details["skipped"].values()) - sum(number for _, number in reasons)
    if rest:
        print(f"  skipped {rest:,} for other reasons; see --skipped")
