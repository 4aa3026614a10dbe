"""Which process answers a question, and whether it still lives.

On the same machine its start is looked up, where `/proc` shows it; elsewhere, as between
containers that share a file, the time of its last heartbeat decides.
"""

import os
import socket
import time
from functools import cache
from pathlib import Path

BEAT_S = 5.0  # between heartbeats
SILENT_S = 30.0  # longer than a busy machine delays a heartbeat

_PROCESSES = Path("/proc")


@cache
def machine_name() -> str:
    """Name where process numbers mean the same: a host, and its namespace of processes."""
    try:
        namespace = str((_PROCESSES / "self" / "ns" / "pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def process_name() -> str:
    """Name this process: its number, and when it was started."""
    return f"{os.getpid()} {_started_at(os.getpid()) or 0}"


def is_gone(machine: str, process: str, beat_at: float) -> bool:
    """Tell whether a process has ended.

    :param machine: of the process, as `machine_name` gave it there; likewise `process`.
    :param beat_at: when it last said that it lives, in Unix seconds.
    """
    if machine == machine_name() and _started_at(os.getpid()):
        number, _, started_at = process.partition(" ")
        return _started_at(int(number)) != started_at
    return time.time() - beat_at > SILENT_S


def _started_at(process_id: int) -> str | None:
    """When a process started, in clock ticks since the machine did; None if that is not known."""
    try:
        line = (_PROCESSES / str(process_id) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()  # its name, before that, may hold anything
    return None if fields[0] == "Z" else fields[19]
