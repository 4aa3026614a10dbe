"""Repositories and folders that are made to run something, or to show what lies outside them.

Beside each stands a file with a secret, and a program that leaves a canary when it is called. What
is hostile is read or refused in one line; neither the secret nor the canary may ever be seen.
This file is long because all kinds of hostility need the same surroundings.
"""

import itertools
import os
import socket
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_tools import snapshot
from data_tools.errors import CodeQAError, SourceError
from data_tools.flatten import flatten
from data_tools.sources import SkippedFile, SourceFile, open_source
from retrieval.index import CodeIndex
from tests.data_tools.git_server import serve_git
from tests.fakes import FakeEncoder
from tests.git_repositories import (
    commit_entries,
    commit_files,
    head_of,
    make_repository,
    run_git,
    write_files,
)
from tests.torture.conftest import Cases, Tally

SECRET = "wh1sper_of_the_outside"
HOOKS = "post-checkout post-index-change reference-transaction fsmonitor-watchman pre-auto-gc"
ATTRIBUTES = "* filter=evil diff=evil merge=evil text=auto ident export-subst\n"


@dataclass(frozen=True)
class Place:
    """Where a hostile repository stands, and what is around it.

    :param repo: a repository of one commit, of the file `a.py`.
    :param outside: another one, whose only file holds the secret.
    :param program: leaves the canary when it is called, whatever for.
    """

    repo: Path
    outside: Path
    program: Path
    canary: Path

    @property
    def git(self) -> Path:
        """The git folder of the hostile one."""
        return self.repo / ".git"


MakePlace = Callable[[], Place]


@pytest.fixture
def make_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePlace:
    """Factory of repositories to be made hostile; a work tree that stalls is given up soon."""
    monkeypatch.setattr(snapshot, "COUNTING_TIMEOUT_S", 0.5)
    numbers = itertools.count()

    def make() -> Place:
        home = tmp_path / f"place-{next(numbers)}"
        home.mkdir()
        canary, program = home / "canary", home / "program"
        program.write_text(f'#!/bin/sh\necho "$0 $*" >> "{canary}"\ncat\n')
        program.chmod(0o755)
        outside = make_repository(home / "outside", {"secret.py": f'key = "{SECRET}"\n'})
        repo = make_repository(home / "hostile", {"a.py": "x = 1\n"})
        return Place(repo, outside, program, canary)

    return make


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """One of them."""
    return make_place()


def read(spec: str) -> dict[str, str]:
    """The text of each file, or the reason why it is left out; of a path's files the first."""
    found: dict[str, str] = {}
    for file in open_source(spec).files():
        found.setdefault(file.path, file.text if isinstance(file, SourceFile) else file.reason)
    return found


def replace_by_link(link: Path, target: Path) -> None:
    """Move what stands at a path away, and put a link there."""
    if link.exists() or link.is_symlink():
        link.rename(link.with_name(f"was-{link.name}"))
    link.symlink_to(target)


def replace_by_pipe(path: Path) -> None:
    """Put a pipe, which nobody writes to, in the place of a file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def point_git_file_outside(place: Place) -> None:
    place.git.rename(place.repo / "was-git")
    place.git.write_text(f"gitdir: {place.outside}/.git\n")


def link_git_folder_outside(place: Place) -> None:
    replace_by_link(place.git, place.outside / ".git")


def share_objects_of_another(place: Place) -> None:
    (place.git / "commondir").write_text(f"{place.outside}/.git\n")
    (place.git / "HEAD").write_text(head_of(place.outside) + "\n")


def borrow_objects_of_another(place: Place) -> None:
    (place.git / "objects" / "info").mkdir(exist_ok=True)
    alternates = place.git / "objects" / "info" / "alternates"
    alternates.write_text(f"# mine\n{place.outside}/.git/objects\n")
    (place.git / "refs" / "heads" / "main").write_text(head_of(place.outside) + "\n")


def borrow_through_an_inner_folder(place: Place) -> None:
    inner = place.repo / "inner" / "info"
    inner.mkdir(parents=True)
    (inner / "alternates").write_text(f"{place.outside}/.git/objects\n")
    (place.git / "objects" / "info").mkdir(exist_ok=True)
    (place.git / "objects" / "info" / "alternates").write_text("../../inner\n")
    (place.git / "refs" / "heads" / "main").write_text(head_of(place.outside) + "\n")


def link(name: str, target: str) -> Callable[[Place], None]:
    """Make a builder that links a part of the git folder to the other repository's."""

    def build(place: Place) -> None:
        (place.git / "refs" / "heads" / "main").write_text(head_of(place.outside) + "\n")
        replace_by_link(place.git / name, place.outside / ".git" / target)

    return build


def pipe(name: str) -> Callable[[Place], None]:
    """Make a builder that puts a pipe where git expects a file."""
    return lambda place: replace_by_pipe(place.repo / name)


def setting(key: str, value: str = "{program}") -> Callable[[Place], None]:
    """Make a builder that configures a repository; {program} and {outside} are filled in."""

    def build(place: Place) -> None:
        filled = value.format(program=place.program, outside=place.outside)
        run_git(place.repo, "config", key, filled)
        write_files(place.repo, {".gitattributes": ATTRIBUTES, "a.py": "x = 22\n"})

    return build


def install_hooks(place: Place) -> None:
    for hook in HOOKS.split():
        write_files(place.git / "hooks", {hook: place.program.read_text()})
        (place.git / "hooks" / hook).chmod(0o755)


def include_what_is_never_read_to_its_end(place: Place) -> None:
    replace_by_pipe(place.repo / "pipe")
    run_git(place.repo, "config", "include.path", "../pipe")


def include_in_two_steps(place: Place) -> None:
    (place.repo / "more").write_text(f"[include]\n\tpath = {place.outside}/.git/config\n")
    run_git(place.repo, "config", "include.path", "../more")


def promise_what_a_program_would_fetch(place: Place) -> None:
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{place.program}",
        "remote.origin.uploadpack": str(place.program),
    }.items():
        run_git(place.repo, "config", key, value)
    blob = head_of(place.repo, "HEAD:a.py")
    (place.git / "objects" / blob[:2] / blob[2:]).unlink()


REFUSED: dict[str, Callable[[Place], None]] = {
    "a .git file that leads outside": point_git_file_outside,
    "a .git link that leads outside": link_git_folder_outside,
    "commondir outside": share_objects_of_another,
    "alternates outside": borrow_objects_of_another,
    "alternates of alternates": borrow_through_an_inner_folder,
    "linked objects": link("objects", "objects"),
    "linked packs": link("objects/pack", "objects/pack"),
    "linked refs": link("refs", "refs"),
    "a linked branch": link("refs/heads/side", "refs/heads/main"),
    "a linked HEAD": link("HEAD", "HEAD"),
    "linked configuration": link("config", "config"),
    "a linked index": link("index", "index"),
    "a link to nowhere": link("packed-refs", "nowhere"),
    "a pipe as HEAD": pipe(".git/HEAD"),
    "a pipe as configuration": pipe(".git/config"),
    "a pipe as packed-refs": pipe(".git/packed-refs"),
    "a pipe as a branch": pipe(".git/refs/heads/main"),
    "a pipe as the index": pipe(".git/index"),
    "a pipe as info/exclude": pipe(".git/info/exclude"),
    "an included pipe": include_what_is_never_read_to_its_end,
    "configuration from outside": setting("include.path", "{outside}/.git/config"),
    "configuration from home": setting("include.path", "~/.gitconfig"),
    "conditional configuration": setting("includeIf.gitdir:/.path", "/etc/passwd"),
    "configuration in two steps": include_in_two_steps,
    "a promise to fetch": promise_what_a_program_would_fetch,
}
READ: dict[str, Callable[[Place], None]] = {
    "hooks": install_hooks,
    "a pipe as .gitignore": pipe(".gitignore"),
    "a pipe as .gitattributes": pipe(".gitattributes"),
    "a work tree elsewhere": setting("core.worktree", "{outside}"),
    "the whole disk as the work tree": setting("core.worktree", "/"),
    "ignore rules from outside": setting("core.excludesFile", "/dev/zero"),
    "attributes from outside": setting("core.attributesFile", "{outside}/secret.py"),
    **{
        key: setting(key)
        for key in (
            *("core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.editor", "core.pager"),
            *("core.askPass", "core.alternateRefsCommand", "core.hooksPath", "credential.helper"),
            *("diff.external", "diff.evil.command", "diff.evil.textconv", "merge.evil.driver"),
            *("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "gpg.program"),
            *("gpg.ssh.program", "uploadpack.packObjectsHook", "remote.origin.uploadpack"),
            *("remote.origin.proxy", "remote.origin.vcs", "alias.ls-tree", "alias.cat-file"),
            *("sequence.editor", "interactive.diffFilter", "pager.ls-tree", "trace2.normalTarget"),
        )
    },
    "filters that must not fail": setting("filter.evil.required", "true"),
    "a remote that is a program": setting("remote.origin.url", "ext::{program}"),
    "another address for all": setting("url.ext::x.insteadOf", "https://"),
    "signatures to check": setting("log.showSignature", "true"),
    "submodules to follow": setting("submodule.recurse", "true"),
}


def assert_nothing_got_out(place: Place, found: dict[str, str], why: str) -> None:
    """Check that the secret was not read, and no program called."""
    assert SECRET not in str(found), why
    assert not place.canary.exists(), f"{why}: {place.canary.read_text()}"


def specs_of(place: Place) -> tuple[str, ...]:
    """Ways to name the hostile repository."""
    return str(place.repo), f"{place.repo}@main", f"file://{place.repo}"


def test_a_git_folder_that_leads_outside_is_refused(
    make_place: MakePlace, cases: Cases, tally: Tally
) -> None:
    for name, build in REFUSED.items():
        place = make_place()
        build(place)
        for spec in specs_of(place)[: cases(1, 3)]:
            with pytest.raises(SourceError) as caught:
                pytest.fail(f"{name}: {read(spec)}")
            assert str(caught.value).isprintable(), name
            assert_nothing_got_out(place, {"error": str(caught.value)}, name)
    tally("git folders that lead outside", kinds=len(REFUSED), read=0, programs_run=0)


def test_a_repository_that_names_programs_is_read_and_none_is_run(
    make_place: MakePlace, cases: Cases, tally: Tally
) -> None:
    for name, build in READ.items():
        place = make_place()
        build(place)
        for spec in specs_of(place)[: cases(1, 3)]:
            found = read(spec)
            assert found.get("a.py") == "x = 1\n", name
            assert_nothing_got_out(place, found, name)
    tally("repositories that name programs", kinds=len(READ), programs_run=0, secrets_read=0)


def test_the_programs_would_run_if_git_were_left_to_itself(place: Place) -> None:
    setting("core.fsmonitor")(place)
    run_git(place.repo, "status")
    assert place.canary.exists()


def test_work_trees_and_submodules_that_their_repository_knows_are_read(place: Place) -> None:
    side = place.repo.parent / "side"
    run_git(place.repo, "worktree", "add", "--quiet", str(side))
    assert read(str(side)) == {"a.py": "x = 1\n"}
    allow = ("-c", "protocol.file.allow=always")
    run_git(place.repo, *allow, "submodule", "--quiet", "add", str(place.outside), "sub")
    assert "secret.py" in read(str(place.repo / "sub"))
    commit_files(place.repo, {"b.py": "y = 2\n"})
    assert SECRET not in str(read(str(place.repo)))  # it is not followed from above


# name → mode and content; a name may hold anything but a NUL
NAMES = (
    *("..", ".", ".git", ".GIT", ".Git ", "git~1", ".git\u200c", "../../canary.py", "/canary.py"),
    *("a/../../canary.py", "./a.py", "a//b.py", "a\nb.py", "a\rb.py", "a\tb.py", "\x1b[31mred.py"),
    *("\x9b31m.py", "\u202eyp.gpj", "a\u200bb.py", "\ufeffa.py", "a\x7f.py", "\u2028.py"),
    *("-rf", "--output=canary.py", "$(touch canary).py", "`touch canary`.py", ";touch canary;.py"),
    *("|touch canary", "CON.py", "a.py.", "a.py ", "C:\\canary.py", "..\\canary.py", "~root.py"),
    *(".gitmodules", ".gitattributes", ".lfsconfig", ".codeqaignore", "x" * 300 + ".py"),
    *("manifest.jsonl", "<img src=x onerror=alert(1)>.py", "{canary}.py", "%2e%2e.py", "é.py"),
)


def commit_hostile_tree(place: Place) -> None:
    """Commit names that `git add` would refuse, links, submodules, and one name more than once."""
    text = (
        f'[submodule "x"]\n\tpath = s\n\turl = ext::{place.program}\n\tupdate = !{place.program}\n'
    )
    entries = [("100644", name, f"x = 1  # {text}") for name in NAMES]
    targets = (f"{place.outside}/secret.py", "../outside/secret.py", "/etc/passwd", "link.py")
    entries += [("120000", f"link{n}.py", target) for n, target in enumerate(targets)]
    entries += [
        ("160000", "s", "1" * 40),
        ("100600", "odd.py", "x\n"),
        ("100777", "odd2.py", "x\n"),
    ]
    entries += [("100644", "twice.py", "first = 1\n"), ("100755", "twice.py", "second = 2\n")]
    entries.append(("100644", "id.py", "v = '$Id$ $Format:%H$'\r\n"))
    commit_entries(place.repo, entries)


def all_files(folder: Path) -> set[Path]:
    """Everything below a folder, links not followed."""
    return {path for path in folder.rglob("*") if ".git" not in path.parts}


@pytest.mark.usefixtures("private_allowed")
@pytest.mark.parametrize("over", ["path", "file", "http"])
def test_a_tree_of_hostile_names_is_read_without_leaving_its_folder(
    over: str, place: Place, tmp_path: Path, fake_encoder: FakeEncoder, tally: Tally
) -> None:
    commit_hostile_tree(place)
    with serve_git(place.repo.parent) as server:
        url = server.url("hostile")
        spec = {"path": str(place.repo), "file": f"file://{place.repo}", "http": f"git+{url}"}[over]
        found = read(spec)
        before = all_files(tmp_path)
        (report,) = flatten([spec], tmp_path / "out")
        CodeIndex.build([spec], tmp_path / "index", embedder=fake_encoder).close()
    assert_nothing_got_out(place, found, over)
    assert found["id.py"] == "v = '$Id$ $Format:%H$'\n" and "first" in found["twice.py"]
    assert {name for name, text in found.items() if text == "symbolic link"} >= {"link0.py"}
    assert found["s"] == "submodule"
    written = {path for path in all_files(tmp_path) - before if "codeqa-cache" not in path.parts}
    roots = (tmp_path / "out", tmp_path / "index")
    assert all(any(path.is_relative_to(root) for root in roots) for path in written)
    for path in report.folder.rglob("*"):
        assert not path.is_symlink() and path.name.isprintable()
        assert path.is_dir() or path.suffix == ".txt" or path.name == "manifest.jsonl"
    kept = [path for path, text in found.items() if "x = 1" in text]
    assert not {"..", ".", ".git", "a\nb.py", "../../canary.py"}.intersection(kept)
    assert all(path.isprintable() for path in kept)
    tally(f"hostile names, read from a {over}", names=len(NAMES), written_outside=0)


def test_a_name_that_stands_twice_in_a_tree_is_one_file(
    place: Place, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    commit_hostile_tree(place)
    files = list(open_source(str(place.repo)).files())
    twice = [file for file in files if file.path == "twice.py"]
    assert [type(file) for file in twice] == [SourceFile, SkippedFile]
    with CodeIndex.build([str(place.repo)], tmp_path / "index", embedder=fake_encoder) as index:
        texts = [hit.chunk.text for hit in index.search("first second", 20)]
    assert not any("first" in text and "second" in text for text in texts)


def test_a_tree_out_of_order_is_read_once(place: Place) -> None:
    blob = bytes.fromhex(head_of(place.repo, "HEAD:a.py"))
    names = (b"b.py", b"a.py", b"b.py", b"c.py")
    tree = b"".join(b"100644 " + name + b"\0" + blob for name in names)
    options = ("hash-object", "-w", "-t", "tree", "--literally", "--stdin")
    made = run_git(place.repo, *options, stdin=tree)
    run_git(place.repo, "update-ref", "HEAD", run_git(place.repo, "commit-tree", "-m", "x", made))
    kept = [f.path for f in open_source(str(place.repo)).files() if isinstance(f, SourceFile)]
    assert kept == ["b.py", "c.py"]


def test_what_is_no_plain_file_in_a_folder_is_not_opened(tmp_path: Path) -> None:
    folder, outside = tmp_path / "code", tmp_path / "outside"
    write_files(outside, {"secret.py": f'key = "{SECRET}"\n'})
    write_files(folder, {"a.py": "x = 1\n", "sub/b.py": "y = 2\n"})
    os.mkfifo(folder / "pipe.py")
    os.mkfifo(folder / ".gitignore")
    os.mkfifo(folder / ".codeqaignore")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.py"))
        (folder / "loop.py").symlink_to(folder / "loop.py")
        (folder / "up").symlink_to("..")
        (folder / "sub" / "back").symlink_to(folder)
        (folder / "out.py").symlink_to(outside / "secret.py")
        if os.geteuid() == 0:
            os.mknod(folder / "zero.py", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        found = read(str(folder))
    assert {path for path, text in found.items() if "=" in text} == {"a.py", "sub/b.py"}
    assert SECRET not in str(found)


def test_a_hard_link_is_a_file_of_the_folder_like_any_other(tmp_path: Path) -> None:
    # No program can tell which of its names came first; what unpacks archives must not make them.
    write_files(tmp_path / "code", {"a.py": "x = 1\n"})
    (tmp_path / "code" / "b.py").hardlink_to(tmp_path / "code" / "a.py")
    assert read(str(tmp_path / "code")) == {"a.py": "x = 1\n", "b.py": "x = 1\n"}


def test_what_becomes_a_link_while_it_is_read_is_not_followed(
    tmp_path: Path, cases: Cases, tally: Tally
) -> None:
    folder, outside = tmp_path / "code", tmp_path / "outside"
    write_files(outside, {"f.py": f'key = "{SECRET}"\n'})
    write_files(tmp_path / "inside", {"f.py": "x = 1\n"})
    write_files(folder, {"d/f.py": "x = 1\n", "f.py": "x = 1\n"})
    over = threading.Event()

    def exchange() -> None:
        """Let a file and a folder be links to what is outside, and themselves, in turn."""
        for name, target in (("link.py", outside / "f.py"), ("link", outside)):
            (tmp_path / name).symlink_to(target)
        while not over.is_set():
            for spare, real in (("link.py", folder / "f.py"), ("link", folder / "d")):
                aside = tmp_path / f"aside-{spare}"
                real.rename(aside)
                (tmp_path / spare).rename(real)
                real.rename(tmp_path / spare)
                aside.rename(real)

    thread = threading.Thread(target=exchange)
    thread.start()
    reads, seen = cases(150, 5_000), 0
    try:
        for _ in range(reads):
            try:
                seen += SECRET in str(read(str(folder)))
            except CodeQAError:  # the folder is gone for a moment
                continue
    finally:
        over.set()
        thread.join()
    assert seen == 0
    tally("files exchanged for links while a folder is read", reads=reads, secrets_seen=seen)
