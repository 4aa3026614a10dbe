"""Run a command, and let no process of it outlive the program that asked for it.

::

    python -I guardian.py COMMAND...

Standard input is a pipe that the program holds open. When it is closed, on purpose or because the
program was killed, the command is asked to end, and what is left of it is made to. A file to be
run by its path, in a session of its own; it needs nothing but Python's own library.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from types import FrameType

GRACE_S = 5.0  # for a command that is asked to end
_POLL_S = 0.2


def main(words: list[str]) -> int:
    """Run the command to its end, or to the end of standard input.

    :return: the command's exit code; of one that a signal ended, what shells make of it.
    """
    signal.signal(signal.SIGTERM, _leave)
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        while (code := process.poll()) is None:
            if select.select([sys.stdin], [], [], _POLL_S)[0]:
                _leave()
        return code if code >= 0 else 128 - code
    except SystemExit:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is killed with the rest
            process.wait(GRACE_S)
        os.killpg(0, signal.SIGKILL)  # this program too
        raise


def _leave(number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
