"""Progress of long work on the terminal: one tqdm bar a stage, on stderr."""

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from data_tools.hidden_text import show_hidden
from data_tools.progress import Progress

_LABELS = {
    "read": "reading files",
    "parse": "parsing files",
    "deal": "looking for near-duplicates",
    "tokenize": "tokenizing",
    "upload": "uploading",
    "lexical": "indexing words",
    "embed": "embedding chunks",
    "mine": "finding examples",
    "passages": "finding passages",
    "write": "asking the model",
    "spark": "converting on Spark",
    "train": "training",
    "mix": "mixing with the base",
    "measure": "measuring",
    "answer": "answering",
    "score": "scoring texts",
    "ask": "asking",
    "judge": "judging",
}
_UNITS = {
    "read": " files",
    "parse": " files",
    "deal": " files",
    "tokenize": " files",
    "upload": " files",
    "mine": " questions",
    "passages": " questions",
    "write": " passages",
    "spark": " parts",
    "train": " steps",
    "mix": " mixtures",
    "measure": " questions",
    "answer": " prompts",
    "score": " texts",
    "ask": " questions",
    "judge": " pairs",
}


class ProgressBar:
    """Shows each `Progress` it is called with; silent bars where stderr is no terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._stage = ""

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        if progress.stage == "lexical-ready":
            self.say("words can be searched now; embedding goes on")
        elif progress.message:
            self.say(progress.message)
        else:
            self._advance(progress)

    def say(self, message: str) -> None:
        """Print a line above the bar; on a terminal, steps of a clone or crawl replace another."""
        self._close()
        is_step = message.startswith(("cloning: ", "crawling: "))
        if is_step and not sys.stderr.isatty():
            return
        erase = "\x1b[K" if sys.stderr.isatty() else ""  # of a longer line that was here
        print(
            show_hidden(message) + erase, end="\r" if is_step else "\n", file=sys.stderr, flush=True
        )

    def _advance(self, progress: Progress) -> None:
        if progress.stage != self._stage or self._bar is None:
            self._close()
            self._stage = progress.stage
            self._bar = tqdm(
                total=progress.total,
                desc=_LABELS.get(progress.stage, progress.stage),
                unit=_UNITS.get(progress.stage, " chunks"),
                disable=None,  # where stderr is no terminal
                leave=True,
            )
        self._bar.update(progress.done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
