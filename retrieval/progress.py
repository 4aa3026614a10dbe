"""One step of a build, as it is reported."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of a build.

    :param stage: `clone`, `read`, `lexical`, `lexical-ready`, `embed` or `notice`.
    :param done: files or chunks so far.
    :param total: how many there are in all, where it is known.
    :param message: for `clone` and `notice`, what to tell the user.
    """

    stage: str
    done: int = 0
    total: int | None = None
    message: str = ""


ReportProgress = Callable[[Progress], None]
