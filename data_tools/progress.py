"""One step of long work, as it is reported."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of long work.

    :param stage: what is being done: `clone`, `read`, `parse`, `lexical`, `embed`, `train`, …;
        `notice` and `clone` carry a message.
    :param done: files, chunks, steps, … so far.
    :param total: how many there are in all, where it is known.
    :param message: for `clone` and `notice`, what to tell the user.
    """

    stage: str
    done: int = 0
    total: int | None = None
    message: str = ""


ReportProgress = Callable[[Progress], None]
