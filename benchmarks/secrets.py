"""How many planted secrets are found, what is taken for one, and what looking for them costs.

    python -m benchmarks.secrets REPO…

The planted ones are drawn as `benchmarks.planted_secrets` says. Of a repository it prints what is
redacted a 10,000 lines (to look at by hand: names of kinds and places, never the text) and how fast
its text is read for secrets, in this process and on one core, beside the same by detect-secrets
itself, line by line with its own filters.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.development import SETS
from benchmarks.planted_secrets import KINDS, Planted, plant_decoys, plant_secrets
from data_tools.errors import CodeQAError
from data_tools.secrets import redact
from data_tools.sources import SourceFile, open_source

ROUNDS = 5
LIBRARY_LINES = 20_000  # of a repository, which detect-secrets is timed on


@dataclass(frozen=True)
class Quality:
    """What became of planted secrets and of decoys."""

    planted: int
    found: int
    decoys: int
    alarms: int
    missed: tuple[tuple[str, int], ...]

    @property
    def recall(self) -> float:
        """Found, of all that were planted."""
        return self.found / self.planted

    @property
    def precision(self) -> float:
        """Secrets, of all that was taken for one."""
        return self.found / (self.found + self.alarms)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables as Markdown; 1 if a repository cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.secrets", description=__doc__)
    parser.add_argument("repos", nargs="*", default=[each.url for each in SETS], metavar="REPO")
    options = parser.parse_args(arguments)
    planted, decoys = (
        plant_secrets(1, each=17),
        [d for seed in range(20) for d in plant_decoys(seed)],
    )
    print("| found by | planted | kinds | recall | decoys | alarms | precision | missed most |")
    print("|---|---|---|---|---|---|---|---|")
    for name, find in (("codeqa", _redacts), ("detect-secrets alone", library_finds)):
        quality = judge(planted, decoys, find)
        missed = ", ".join(f"{kind} {count}" for kind, count in quality.missed[:3])
        print(
            f"| {name} | {quality.planted} | {len(KINDS)} | {quality.recall:.3f} "
            f"| {quality.decoys} | {quality.alarms} | {quality.precision:.3f} | {missed} |",
            flush=True,
        )
    print("\n| text of | lines | redacted | a 10,000 lines | MB/s | detect-secrets, MB/s |")
    print("|---|---|---|---|---|---|")
    try:
        for repo in options.repos:
            print(_describe(repo), flush=True)
    except CodeQAError as error:
        print(f"secrets are not measured: {error}", file=sys.stderr)
        return 1
    return 0


def judge(
    planted: Sequence[Planted],
    decoys: Sequence[Planted],
    find: Callable[[str, str], list[str]],
) -> Quality:
    """Count what is found.

    :param find: returns the secrets in a text, given its path too.
    """
    missed = [each for each in planted if not _is_found(each, find(each.text, each.path))]
    return Quality(
        planted=len(planted),
        found=len(planted) - len(missed),
        decoys=len(decoys),
        alarms=sum(bool(find(decoy.text, decoy.path)) for decoy in decoys),
        missed=tuple(Counter(each.kind for each in missed).most_common()),
    )


def _is_found(planted: Planted, found: Sequence[str]) -> bool:
    secret = planted.secret.split("\n")[0]
    return any(secret in text or text in secret for text in found if len(text) >= 8)


def _redacts(text: str, path: str) -> list[str]:
    from data_tools.secrets import find_secrets

    return [text[span.start : span.end] for span in find_secrets(text, path)]


def library_finds(text: str, path: str) -> list[str]:
    """Find secrets as detect-secrets does by default: every plugin, every line, its filters."""
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    with tempfile.TemporaryDirectory() as folder, default_settings():
        file = Path(folder) / path.rpartition("/")[2]
        file.write_text(text, "utf-8", errors="replace")
        return [found.secret_value or "" for found in scan_file(str(file))]


def _describe(repo: str) -> str:
    files = [file for file in open_source(repo).files() if isinstance(file, SourceFile)]
    lines = sum(file.text.count("\n") for file in files)
    redacted = sum(len(file.secrets) for file in files)
    megabytes = sum(len(file.text.encode("utf-8", "replace")) for file in files) / 1e6
    seconds = min(_seconds(lambda: [redact(f.text, f.path) for f in files]) for _ in range(ROUNDS))
    some, count = [], 0
    for file in files:
        if count < LIBRARY_LINES:
            some.append(file.text)
            count += file.text.count("\n")
    part = sum(len(text.encode("utf-8", "replace")) for text in some) / 1e6
    library_s = _seconds(lambda: library_finds("\n".join(some), "all.py"))
    name = repo.partition("@")[0].rstrip("/").rpartition("/")[2]
    return (
        f"| {name} | {lines:,} | {redacted} | {redacted / lines * 10_000:.2f} "
        f"| {megabytes / seconds:.0f} | {part / library_s:.2f} |"
    )


def _seconds(work: Callable[[], object]) -> float:
    started_s = time.process_time()
    work()
    return time.process_time() - started_s


if __name__ == "__main__":
    sys.exit(main())
