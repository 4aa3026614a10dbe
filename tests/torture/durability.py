"""What a power cut could have taken, read off the calls of a run that was not disturbed.

A disk may keep the changes of files in any order, but for what was waited for. So whatever is
renamed into its place has to be waited for before, with all that is in it; and when somebody is
told that something is done, nothing of it may still be on its way, names included.
"""

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from tests.torture.faults import SWITCHES, Call


def list_losses(calls: Iterable[Call], root: Path, *, passing: Collection[str] = ()) -> list[str]:
    """List what was not waited for in time, in words.

    :param root: folders around it are left out: they were there before.
    :param passing: ends of the names of files that may be lost: logs, locks, shared memory.
    """
    waiting: set[str] = set()  # files and folders whose content may not be on the disk
    losses = []
    for call in calls:
        lost: list[str] = []
        if call.name == "sync":
            waiting.discard(call.path)
        elif call.name == "sync all":
            waiting.clear()
        elif call.name == "told":
            lost = _below(waiting, str(root))
        elif call.name == "remove":
            waiting -= set(_below(waiting, call.path))
        elif call.name in SWITCHES:
            lost = _below(waiting, call.path)
            waiting -= set(_below(waiting, call.other))
            waiting.add(_folder(call.other))
        elif not call.path.endswith(tuple(passing)):
            if call.name in ("write", "empty"):
                waiting.add(call.path)
            else:
                waiting.add(_folder(call.other or call.path))
            if call.name == "folder":
                waiting.add(call.path)
        losses += [f"{path} at {call.name} {call.path}" for path in lost]
        waiting -= set(lost)
    return losses


def _below(paths: Iterable[str], folder: str) -> list[str]:
    return sorted(path for path in paths if f"{path}/".startswith(f"{folder.rstrip('/')}/"))


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)
