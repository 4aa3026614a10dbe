"""One run over several processes: how many, and started by accelerate.

`NUM_GPU_WORKERS` says how many processes each machine trains with; several machines are told of
each other by `NUM_NODES`, `NODE_RANK`, `MASTER_ADDR` and `MASTER_PORT`, as training platforms set
them. On a machine without a card the processes share its cores and talk by gloo. What fails in one
process is said once, by the one that started them.
"""

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.errors import CodeQAError, ConfigError, TrainingError

WORKERS = "NUM_GPU_WORKERS"
ERRORS = "CODEQA_ERRORS"  # folder that processes leave their errors in
PARENT_CHECK_S = 0.5
STOPPED = 143  # exit code of a process that SIGTERM ended: 128 + 15


@dataclass(frozen=True)
class Machines:
    """The machines of a run.

    :param rank: this one's number.
    :param address: of the first one.
    """

    count: int
    rank: int
    address: str
    port: int


def count_workers() -> int:
    """Read how many processes this machine trains with: as set, or one a card.

    :raises ConfigError: it is no whole number of 1 or more, or more than there are cards.
    """
    import torch

    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    cards = 0 if on_cpu else torch.cuda.device_count()
    given = os.environ.get(WORKERS)
    if given is None:
        return max(cards, 1)
    if not given.strip().isdecimal() or int(given) < 1:
        raise ConfigError(
            f"{WORKERS} is {given!r}; set it to how many processes train, 1 or more, or unset it"
        )
    workers = int(given)
    if cards and workers > cards:
        raise ConfigError(
            f"{WORKERS} is {workers}, and this machine has {cards} cards; set it to {cards} or less"
        )
    return workers


def find_machines() -> Machines:
    """Read which machines train together.

    :raises ConfigError: the variables contradict each other, or some are missing.
    """
    count, rank = _read_number("NUM_NODES", 1), _read_number("NODE_RANK", 0)
    if count == 1:
        return Machines(1, 0, "127.0.0.1", _read_number("MASTER_PORT", 0) or _free_port())
    address = os.environ.get("MASTER_ADDR")
    if not address or rank >= count:
        raise ConfigError(
            f"NUM_NODES is {count}: set NODE_RANK to this machine's number, 0 to {count - 1}, and "
            "MASTER_ADDR to the address of the first one"
        )
    return Machines(count, rank, address, _read_number("MASTER_PORT", 29500))


def is_launched() -> bool:
    """Whether this process is one of those that were started to train."""
    return "LOCAL_RANK" in os.environ


def share_cores() -> None:
    """Let threads that wait sleep instead of spin; before torch is loaded.

    Where anything else runs on the machine, spinning made a step four times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def prepare_single() -> None:
    """Let a process that trains alone see one card: with more it would split batches itself."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = (visible or "0").split(",")[0] if visible != "" else ""


def launch(command: Sequence[str], workers: int, machines: Machines) -> int:
    """Start `python -m app.cli COMMAND` in several processes, and wait for them.

    :return: exit code: 0, or that of a run that SIGTERM stopped.
    :raises TrainingError: a process failed; with its message.
    """
    import torch
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _quiet_launcher()
    on_cpu = not torch.cuda.is_available() or "ACCELERATE_USE_CPU" in os.environ
    if on_cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    threads = max((os.cpu_count() or 1) // workers, 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    options = [
        "--multi_gpu",
        *("--num_processes", str(workers * machines.count)),
        *("--num_machines", str(machines.count)),
        *("--machine_rank", str(machines.rank)),
        *("--main_process_ip", machines.address),
        *("--main_process_port", str(machines.port)),
        *("--mixed_precision", "no"),  # the run says itself
        *("--dynamo_backend", "no"),
        *("--rdzv_backend", "static"),
        "--module",
        "app.cli",
    ]
    with tempfile.TemporaryDirectory(prefix="codeqa-") as errors:
        os.environ[ERRORS] = errors
        try:
            launch_command(launch_command_parser().parse_args([*options, *command]))
        except SignalException:
            return STOPPED
        except ChildFailedError as error:
            codes = {failure.exitcode for failure in error.failures.values()}
            if codes == {STOPPED}:
                return STOPPED
            raise TrainingError(_read_error(Path(errors), error)) from error
        finally:
            del os.environ[ERRORS]
    return 0


def end_with_parent() -> None:
    """End this process soon after the one that started it, were that killed.

    Else it would train on unseen, while the same command is started again.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def leave_error(error: CodeQAError) -> None:
    """Write an error down for the process that started this one, and end."""
    folder = os.environ.get(ERRORS)
    if folder is None:  # started by a launcher of somebody else's
        raise error
    (Path(folder) / f"{int(os.environ['RANK']):06d}").write_text(str(error), "utf-8")
    sys.exit(1)


def _read_error(folder: Path, error: BaseException) -> str:
    """The message of the first process that left one."""
    left = sorted(folder.iterdir())
    if left:
        return left[0].read_text("utf-8")
    return (
        "a training process failed or was killed; its own message is above, and the same command "
        "goes on from the last checkpoint"
    )


def _quiet_launcher() -> None:
    """Keep torch's launcher from a page of messages about a process that failed."""
    import logging

    for name in ("torch.distributed", "accelerate"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _read_number(name: str, default: int) -> int:
    given = os.environ.get(name)
    if given is None or not given.strip():
        return default
    if not given.strip().isdecimal():
        raise ConfigError(f"{name} is {given!r}; set it to a whole number, or unset it")
    return int(given)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
