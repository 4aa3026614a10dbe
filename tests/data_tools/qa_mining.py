"""What the tests of mined pairs share: mining a folder of files, and finding one pair."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from data_tools.qa_codebase import Codebase, QAPair, read_codebase
from data_tools.qa_pairs import MinedPairs, MiningSettings, mine_qa_pairs
from data_tools.sources import open_source

REFUSAL = "Nobody knows."


def mine(folder: Path, *kinds: str, **settings: object) -> MinedPairs:
    """Mine a repository or folder."""
    chosen = MiningSettings(REFUSAL, **({"kinds": kinds} if kinds else {}), **settings)  # type: ignore[arg-type]
    return mine_qa_pairs([open_source(str(folder))], chosen, lambda _: None)


def answers(pairs: Iterable[QAPair]) -> dict[str, str]:
    """Return question → answer."""
    return {pair.question: pair.answer for pair in pairs}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files below `folder` and return it: a plain folder to mine."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return folder


def read(folder: Path) -> Codebase:
    """Read a folder as the miners take it."""
    return read_codebase(open_source(str(folder)), lambda _: None)


def told(pair: QAPair, codebase: Codebase) -> str:
    """Return the lines that a pair's evidence points to."""
    return "".join(
        codebase.text(each.path, each.start_line, each.end_line) for each in pair.evidence
    )
