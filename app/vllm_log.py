"""What vLLM's log says: its last words while it starts, and why it ended.

Its processes write into one file, each line after their name, the time and the place in the code.
"""

import os
import re
from pathlib import Path

TAIL_BYTES = 32_768
DETAIL_CHARS = 200  # of a line of the log, in a message
_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?([A-Z]+ [\d-]+ [\d:]+ \[[\w.]+:\d+\] ?)?")
_SAYS_NOTHING = re.compile(r"Route: |INFO:|\s*$|[-=*█▄▀ ]+$")
_ERROR = re.compile(r"(?:[\w.]+\.)?([A-Z]\w*(?:Error|Exception): .+)|\S+: error: (.+)")
_NOT_THE_CAUSE = re.compile(r"EngineDeadError|initialization failed|See (root cause|stack trace)")


def read_tail(file: Path, start: int = 0) -> str:
    """Read the end of a log.

    :param start: what is before this byte is of an earlier process.
    """
    try:
        with file.open("rb") as log:
            log.seek(max(start, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            return log.read().decode("utf-8", "replace")
    except OSError:  # a log that someone removed stops nothing
        return ""


def last_line(log: str) -> str:
    """Return the last line of a log that says something, without its time and place."""
    lines = (line.strip() for line in reversed(_lines(log)))
    return next((line for line in lines if not _SAYS_NOTHING.match(line)), "")


def last_error(log: str) -> str:
    """Return the last error of a log, as a Python program prints it; "" where there is none.

    One that only says that another process has failed counts where there is no other.
    """
    lines = _lines(log)
    errors = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := _ERROR.match(line):
            more = f" {following.strip()}" if following.startswith("  ") else ""
            errors.append(((match[1] or match[2]) + more)[:DETAIL_CHARS])
    causes = [error for error in errors if not _NOT_THE_CAUSE.search(error)]
    return (causes or errors or [""])[-1]


def _lines(log: str) -> list[str]:
    """Split a log into lines that are safe to show, without vLLM's names of process and place."""
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;]*m", "", log))
    return ["".join(filter(str.isprintable, _PREFIX.sub("", line))).rstrip() for line in lines]
