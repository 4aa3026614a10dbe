"""Trying what damaged data does, each case in a process of its own with little memory and time.

A program that runs many cases imports what they need once, and forks for each: a case that is
killed by a signal, eats its memory or never ends is told from one that fails as it should, and the
next one starts afresh. It must not have started threads before.
"""

import os
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from data_tools.errors import CodeQAError

MEMORY_BYTES = 2 << 30
TIME_S = 120.0  # what hangs, hangs; a busy machine takes a while


def attempt(
    case: Callable[[], str], *, memory_bytes: int = MEMORY_BYTES, time_s: float = TIME_S
) -> str:
    """Run a case in a fork and tell what came of it.

    :param memory_bytes: of address space, libraries included.
    :return: what it returned; `error` for an error that codeqa explains; else `crash:` and why, or
        `killed:` and the signal.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            pipe.write(_run(case, memory_bytes, time_s))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if status == 0 else f"killed: {signal.Signals(-status).name}"


def _run(case: Callable[[], str], memory_bytes: int, time_s: float) -> str:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries say what they think of such files
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, time_s)  # nobody handles it: the process ends
    try:
        return case()
    except CodeQAError as error:
        message = str(error)
        return "error" if message.isprintable() and message else f"crash: says {message!r}"
    except BaseException as error:  # also what Rust's panics are
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames[:-5:-1])
        return f"crash: {type(error).__name__}: {str(error)[:150]!r} at {where}"
