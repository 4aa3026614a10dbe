"""Runs in processes that are killed, or find the disk full, at a chosen change of a file.

`Faulty` is a process that is warm: it has imported what a run needs, and forks for every run. In
the fork, calls that change files below one folder are counted by `faults.c`, which stands before
the C library's, and the chosen one is broken off. So the same run can be killed at each of its
steps, and takes a second. What a run says with `tell` is known even if it dies right after.

What goes through memory maps is not seen: SQLite's shared memory, which it makes again.
"""

import ctypes
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import pytest

from data_tools.errors import CodeQAError

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("faults.c")
RUN_S = 120  # longer than any run here takes on a busy machine

Action = Literal["kill", "tear", "full", "fail"]
_LETTERS = {"kill": "k", "tear": "t", "full": "f", "fail": "e"}
# Kinds of calls, as bits: take space, wait for the disk, change names.
_SPACE, _SYNC, _NAME = 1, 2, 4
_KINDS = {"kill": _SPACE | _SYNC | _NAME, "full": _SPACE, "fail": _SYNC}
_KINDS["tear"] = _KINDS["kill"]
_CALLS = {name: _SPACE for name in ("write", "create", "folder", "link")}
_CALLS |= {name: _NAME for name in ("rename", "exchange", "remove", "empty")}
_CALLS |= {name: _SYNC for name in ("sync", "sync all")}
SWITCHES = ("rename", "exchange")

Tell = Callable[..., None]  # called in the run: `tell(answered=…)`


@dataclass(frozen=True)
class Fault:
    """Where a run is broken off, and how.

    :param action: `kill` the process before a call; `tear`: half of what it writes is written,
        then it is killed; `full`: half of that, and no space from there on; `fail`: waiting for
        the disk fails once.
    :param at: number of the call among those that the action is about, from 1; 0 is never.
    """

    action: Action = "kill"
    at: int = 0


@dataclass(frozen=True)
class Call:
    """A call that changed files, or waited for them to be on the disk; or `told`.

    :param name: as `faults.c` gives it: `write`, `create`, `rename`, …
    :param other: the second path, of a call with two.
    """

    name: str
    path: str
    other: str


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    :param killed: it was killed by the fault.
    :param told: what it said, in order.
    :param calls: of any kind, in order, those after which something was told marked by `told`.
    :param problem: the message of the error a user would have read, if any.
    """

    killed: bool
    told: tuple[dict[str, Any], ...]
    calls: tuple[Call, ...]
    problem: str | None = None


class Faulty:
    """A warm process whose forks are broken off; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        """Compile what counts the calls, and start.

        :param folder: for the compiled library.
        """
        compiler = shutil.which("cc") or shutil.which("gcc")
        if sys.platform != "linux" or compiler is None:
            pytest.skip("breaking off file changes needs Linux and a C compiler: apt install gcc")
        library, self._log = folder / "faults.so", folder / "calls"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            pytest.skip(f"{SOURCE.name} cannot be compiled here: {built.stderr.strip()[:200]}")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.faults"],
            cwd=ROOT,
            env=os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self,
        step: Callable[..., None],
        below: Path,
        fault: Fault = Fault(),
        /,
        **arguments: object,
    ) -> Outcome:
        """Run a function of a module in a fork; what its module imports is kept warm.

        :param step: `step(tell, **arguments)`; the arguments pass as JSON.
        :param below: changes of files below it are counted and broken off.
        """
        order = {
            "module": step.__module__,
            "step": step.__name__,
            "below": str(below),
            "kinds": _KINDS[fault.action],
            "action": _LETTERS[fault.action],
            "at": fault.at,
            "log": str(self._log),
            "arguments": arguments,
        }
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order, default=str) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the warm process has died"
        answer = json.loads(line)
        told = [json.loads(each) for each in answer["told"]]
        end = told.pop() if told and "ended" in told[-1] else {}
        assert "crash" not in end, end["crash"]
        code = answer["code"]
        assert code == 0 or (code == -signal.SIGKILL and fault.at), (code, told)
        return Outcome(
            killed=code != 0,
            told=tuple(told),
            calls=_read_calls(self._log),
            problem=end.get("problem"),
        )


def check_problem(run: Outcome, point: Fault) -> None:
    """Check that a user would have read what is wrong and what to do, in one line."""
    assert run.problem, point
    assert "\n" not in run.problem
    # SQLite does not say why it cannot make a file.
    assert run.problem.startswith(("the disk is full", "cannot write to ")), point
    assert any(fix in run.problem for fix in ("choose another", "check the folder")), point


def choose_points(calls: Sequence[Call], wanted: int, actions: Sequence[Action]) -> list[Fault]:
    """Choose where to break off: right before and after what switches, and evenly elsewhere.

    :param calls: of an undisturbed run.
    :param wanted: how many points, at most.
    """
    faults: list[Fault] = []
    switching: list[bool] = []
    for action in actions:
        counted = [each for each in calls if _CALLS.get(each.name, 0) & _KINDS[action]]
        faults += [Fault(action, at) for at in range(1, len(counted) + 1)]
        switching += [each.name in SWITCHES for each in counted]
    chosen = _spread([fault for fault, now in zip(faults, switching, strict=True) if now], wanted)
    rest = sorted(set(faults) - set(chosen), key=lambda fault: (fault.at, fault.action))
    return chosen + _spread(rest, wanted - len(chosen))


def _spread(faults: Sequence[Fault], wanted: int) -> list[Fault]:
    wanted = min(wanted, len(faults))
    return [faults[(2 * n + 1) * len(faults) // (2 * wanted)] for n in range(wanted)]


def _read_calls(log: Path) -> tuple[Call, ...]:
    lines = log.read_text("utf-8", "surrogateescape").splitlines()
    return tuple(Call(*line.split("\t")) for line in lines)


def _serve() -> None:
    """Fork for each order that arrives."""
    for line in sys.stdin:
        order = json.loads(line)
        module = importlib.import_module(order["module"])  # in the parent: it stays warm
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            os.dup2(2, 1)
            signal.alarm(RUN_S)
            _run(getattr(module, order["step"]), order, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read().splitlines()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"told": told, "code": code}), flush=True)


def _run(step: Callable[..., None], order: dict[str, Any], pipe: int) -> None:
    """Run one order in this process, and end it."""
    shim = ctypes.CDLL(None)

    def tell(**facts: object) -> None:
        os.write(pipe, json.dumps(facts).encode() + b"\n")
        shim.fault_told()

    end: dict[str, object] = {"ended": True}
    shim.fault_arm(
        order["below"].encode(),
        order["kinds"],
        ord(order["action"]),
        ctypes.c_long(order["at"]),
        order["log"].encode(),
    )
    try:
        step(tell, **order["arguments"])
    except CodeQAError as error:
        end["problem"] = str(error)
    except BaseException:
        end["crash"] = traceback.format_exc()
    finally:
        shim.fault_disarm()
        tell(**end)
        os._exit(0)


if __name__ == "__main__":
    _serve()
