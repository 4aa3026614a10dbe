"""What `codeqa status` says of an index."""

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from app.commands import count, print_json
from data_tools.clone import count_commits_behind
from data_tools.docs_site import last_read
from data_tools.errors import CodeQAError
from data_tools.sources import is_site
from retrieval.generations import RepositoryRecord
from retrieval.index import CodeIndex

TOP_REASONS = 10
_DETAILS = re.compile(r" \([^)]*(?:\d|://)[^)]*\)")  # sizes, addresses: set equal reasons apart


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
        "behind": behind,
    }
    if read_at is not None:
        details["read_at"] = _moment(read_at)
    if list_skipped:
        details["skipped_files"] = {file.path: file.reason for file in skipped}
    return details


def _print_repository(details: dict[str, Any]) -> None:
    ref = f" ({details['ref']})" if details["ref"] else ""
    print(f"{details['name']} @ {details['commit'][:12]}{ref}  {details['location']}")
    languages = ", ".join(f"{name} {count:,}" for name, count in details["languages"].items())
    print(f"  {count(details['files'], 'file')}, {count(details['chunks'], 'chunk')}: {languages}")
    behind = details["behind"]
    if isinstance(behind, str):
        print(f"  how far behind is not known: {behind}")
    elif behind is not None:
        print(f"  {count(behind, 'commit')} behind" if behind else "  up to date")
    if "read_at" in details:  # only another crawl could tell what has changed since
        age = datetime.now(UTC) - datetime.fromisoformat(details["read_at"])
        ago = f"{count(age.days, 'day')} ago" if age.days else "today"
        print(f"  read {ago}; `codeqa index` reads it again and embeds what has changed")
    if "skipped_files" in details:
        for path, reason in details["skipped_files"].items():
            print(f"  skipped {path}: {reason}")
        return
    reasons = Counter(details["skipped"]).most_common(TOP_REASONS)
    for reason, number in reasons:
        print(f"  skipped {number:,}: {reason}")
    rest = sum(details["skipped"].values()) - sum(number for _, number in reasons)
    if rest:
        print(f"  skipped {rest:,} for other reasons; see --skipped")
