"""What a process, and those it started, take of the machine: memory, threads, files, disk."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MB = 1024**2


@dataclass(frozen=True)
class Footprint:
    """What processes take at one moment, all of them together.

    :param rss_mb: resident memory; what several share is counted for each.
    :param pss_mb: the same, what several share divided among them.
    :param processor_s: used so far by those that still run.
    """

    rss_mb: float = 0.0
    pss_mb: float = 0.0
    threads: int = 0
    open_files: int = 0
    processor_s: float = 0.0

    def __add__(self, other: "Footprint") -> "Footprint":
        return Footprint(
            self.rss_mb + other.rss_mb,
            self.pss_mb + other.pss_mb,
            self.threads + other.threads,
            self.open_files + other.open_files,
            self.processor_s + other.processor_s,
        )


def measure(process_id: int) -> Footprint:
    """Measure a process and all that it started.

    :raises psutil.NoSuchProcess: it has ended.
    """
    process = psutil.Process(process_id)
    total = _measure_one(process)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
            total += _measure_one(child)
    return total


def _measure_one(process: psutil.Process) -> Footprint:
    memory, times = process.memory_full_info(), process.cpu_times()
    return Footprint(
        memory.rss / MB,
        memory.pss / MB,
        process.num_threads(),
        process.num_fds(),
        times.user + times.system,
    )


def folder_mb(folder: Path) -> float:
    """Sum the sizes of the files below a folder, in MB, but of those taken away meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).stat().st_size
    return total / MB
