"""A git folder on this disk, looked over before git is run in it: nothing in it may lead outside.

Objects, branches and settings can be taken from elsewhere: by a `.git` file, `commondir`,
alternates, included configuration or symbolic links. What is copied or unpacked from strangers
could so make git read what is not theirs, or wait for ever at a pipe. A work tree or submodule
whose repository knows it is in order; all else that leads outside is refused, not followed.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import git

from data_tools.errors import SourceError
from data_tools.git_commands import open_git

MAX_POINTER_BYTES = 8_192  # of a file that holds a path
MAX_INCLUDES = 100  # configuration files of one repository
_READ_BY_GIT = ("objects", "refs", "info", "reftable")  # folders of which every level is looked at
_NOT_READ = ("hooks", "logs", "lfs", "annex", "modules", "worktrees", "rr-cache")


def check_git_folder(folder: Path) -> None:
    """Refuse a repository that reads what is outside it, or holds what git would wait for.

    What is no repository passes: git says so better.

    :param folder: the work tree, or the repository itself if it is bare.
    :raises SourceError: it leads outside; the message names what does.
    """
    folder = folder.resolve()
    try:
        own = _find_git_folder(folder)
        if own is None:
            return
        common = _common_folder(own)
        for git_folder in dict.fromkeys((own, common)):
            _check_entries(git_folder)
            _check_alternates(git_folder)
            _check_includes(git_folder, (folder, own, common))
    except OSError as error:
        raise SourceError(f"{folder} cannot be read ({error.strerror}); check it") from error


def _find_git_folder(folder: Path) -> Path | None:
    place = folder / ".git"
    if not os.path.lexists(place):
        return folder if (folder / "objects").is_dir() else None
    mode = place.lstat().st_mode
    if stat.S_ISDIR(mode):
        return place
    if not stat.S_ISREG(mode):
        raise _leads_outside(place)
    text = _read_pointer(place)
    if not text.startswith("gitdir:"):
        return None
    target = (folder / text.removeprefix("gitdir:").strip()).resolve()
    if not target.is_relative_to(folder) and not _knows(target, folder):
        raise SourceError(
            f"{place} leads to {target}, which does not know it; index that repository itself"
        )
    return target


def _knows(git_folder: Path, folder: Path) -> bool:
    """Tell whether a repository names `folder` as a work tree of its own."""
    back = git_folder / "gitdir"
    if back.is_file():
        return (git_folder / _read_pointer(back).strip()).resolve() == folder / ".git"
    config = git_folder / "config"
    if not config.is_file():
        return False
    named = _ask_config(config, "--get", "core.worktree")
    return any((git_folder / name).resolve() == folder for name in named)


def _common_folder(own: Path) -> Path:
    """Return where a work tree's objects and branches are: in the repository that it is part of."""
    pointer = own / "commondir"
    if not os.path.lexists(pointer):
        return own
    common = (own / _read_pointer(pointer).strip()).resolve()
    if own.parent != common / "worktrees":
        raise _leads_outside(pointer)
    return common


def _check_entries(git_folder: Path) -> None:
    """Refuse links, but for a branch's (`HEAD`, long ago), and what is neither file nor folder."""
    for entry in _entries(git_folder):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            target = Path(entry.path).resolve()
            fine = target.is_file() and target.is_relative_to(git_folder)
        else:  # a socket cannot be opened, and git's own monitor has one
            fine = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISSOCK(mode)
        if not fine:
            raise _leads_outside(Path(entry.path))


def _entries(git_folder: Path) -> Iterator["os.DirEntry[str]"]:
    """List what git would read, without going through links."""
    folders = [str(git_folder)]
    while folders:
        folder = folders.pop()
        top = folder == str(git_folder)
        with os.scandir(folder) as found:
            for entry in found:
                if top and entry.name in _NOT_READ:
                    continue
                yield entry
                deep = not top or entry.name in _READ_BY_GIT
                if deep and entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)


def _check_alternates(git_folder: Path) -> None:
    file = git_folder / "objects" / "info" / "alternates"
    if os.path.lexists(file) and _read_pointer(file).strip():
        raise SourceError(
            f"{file} borrows objects from another repository; copy them with "
            f"`git -C {git_folder} repack -a -d`, then delete that file"
        )


def _check_includes(git_folder: Path, roots: tuple[Path, ...]) -> None:
    files = [file for name in ("config", "config.worktree") if (file := git_folder / name).exists()]
    seen: set[Path] = set()
    while files:
        file = files.pop()
        if file in seen:
            continue
        seen.add(file)
        for path in _ask_config(file, "--get-regexp", r"^include(if\..*)?\.path$"):
            target = (file.parent / path).resolve()
            inside = not path.startswith(("~", "%")) and _is_inside(target, roots)
            if not inside or (target.exists() and not target.is_file()) or len(seen) > MAX_INCLUDES:
                raise SourceError(
                    f"{file} includes {path!r}, which is outside the repository; take that out"
                )
            if target.is_file():
                files.append(target)


def _ask_config(file: Path, *question: str) -> list[str]:
    """Return the values that one configuration file gives, and no other file."""
    with open_git(Path(os.sep)) as command:
        try:
            found = str(command.config("--file", str(file), "--no-includes", "-z", *question))
        except git.CommandError:  # there are none, or git cannot read it and will say so
            return []
    values = (each.partition("\n")[2] if "\n" in each else each for each in found.split("\0"))
    return [value for value in values if value]


def _is_inside(place: Path, roots: tuple[Path, ...]) -> bool:
    return any(place.is_relative_to(root) for root in roots)


def _read_pointer(file: Path) -> str:
    """Read a small file that holds a path; a link or a pipe in its place is refused."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _leads_outside(file)
        data = stream.read(MAX_POINTER_BYTES + 1)
    if len(data) > MAX_POINTER_BYTES:
        raise _leads_outside(file)
    return os.fsdecode(data)


def _leads_outside(place: Path) -> SourceError:
    return SourceError(
        f"{place} leads outside the repository or is no regular file; take it out, or clone the "
        "repository anew"
    )
