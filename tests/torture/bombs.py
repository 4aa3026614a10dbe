"""Repositories that are made to fill memory, or to keep whoever reads them busy for ever.

Each maker writes one into an empty folder. What git itself would refuse to write from a work tree,
or would take an hour to, is written through `git fast-import`.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.git_repositories import run_git, write_files

GIGABYTE = 1_000_000_000
PERSON = b"Ada <ada@example.org> 1767323045 +0000"
GOOD = "def take(self):\n    return self.tokens > 0\n"


@dataclass(frozen=True)
class Bomb:
    """A hostile repository.

    :param make: writes it into a folder, of the size that is given.
    :param reduced: that size in `make test`; `whole` under `make torture`.
    :param refused: what the error says where it is refused; "" where it is indexed.
    :param skipped: what the reason says for which its worst file is left out, if it is.
    """

    name: str
    make: Callable[[Path, int], None]
    reduced: int
    whole: int
    refused: str = ""
    skipped: str = ""


def import_commit(
    folder: Path, files: Iterable[tuple[str, bytes]], *, message: bytes = b"Bomb"
) -> None:
    """Make a repository of one commit; contents that repeat one after another are stored once.

    :param files: (path, content).
    """
    run_git(folder, "init", "--quiet", "--initial-branch=main")
    command = ["git", "-c", "core.compression=1", "fast-import", "--quiet", "--force"]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE)
    assert process.stdin
    with process.stdin as stream:
        blobs, stored = 0, None
        places = []
        for path, content in files:
            if content is not stored:
                blobs, stored = blobs + 1, content
                stream.write(b"blob\nmark :%d\ndata %d\n" % (blobs, len(content)) + content + b"\n")
            places.append((path, blobs))
        stream.write(b"commit refs/heads/main\ncommitter %s\ndata %d\n" % (PERSON, len(message)))
        stream.write(message + b"\n")
        for path, blob in places:
            stream.write(b'M 100644 :%d "%s"\n' % (blob, path.encode()))
    assert process.wait() == 0


def good(folder: Path) -> None:
    """A file that can be indexed, whatever stands beside it."""
    write_files(folder, {"good.py": GOOD})


def sparse_files(folder: Path, size: int) -> None:
    good(folder)
    for name in ("a.py", "b.ipynb", ".gitignore", ".codeqaignore", "c.bin", "d.md"):
        (folder / name).touch()
        os.truncate(folder / name, size)


def long_line(folder: Path, size: int) -> None:
    good(folder)
    with (folder / "line.py").open("wb") as file:
        for _ in range(size // 1_000_000):
            file.write(b"a" * 1_000_000)
    write_files(folder, {f"line{suffix}": "a " * 49_000 for suffix in (".js", ".md", ".yaml")})


def large_blob(folder: Path, size: int) -> None:
    import_commit(folder, [("a.py", b"#" * size), ("good.py", GOOD.encode())])


def many_files(folder: Path, count: int) -> None:
    import_commit(folder, ((f"f{number}.py", b"x = 1\n") for number in range(count)))


def many_nested_files(folder: Path, count: int) -> None:
    paths = (f"a{n % 7}/b{n // 7 % 100}/c{n // 700 % 100}/f{n}.py" for n in range(count))
    import_commit(folder, ((path, b"x = 1\n") for path in sorted(paths)))


def many_plain_files(folder: Path, count: int) -> None:
    for number in range(count):
        if number % 10_000 == 0:
            (folder / f"d{number}").mkdir()
        place = f"{folder}/d{number // 10_000 * 10_000}/f{number}.py"
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"x = 1\n")
        os.close(descriptor)


def many_assets(folder: Path, count: int) -> None:
    pictures = ((f"images/i{number}.png", b"\x89PNG") for number in range(count))
    import_commit(folder, [*pictures, ("good.py", GOOD.encode())])


def deep_trees(folder: Path, depth: int) -> None:
    import_commit(folder, [("d/" * depth + "a.py", b"x = 1\n"), ("good.py", GOOD.encode())])


def deep_folders(folder: Path, depth: int) -> None:
    good(folder)
    before = Path.cwd()
    os.chdir(folder)  # their paths are longer than the system takes
    try:
        for _ in range(depth):
            os.mkdir("d")  # noqa: PTH102 - a Path would be made absolute
            os.chdir("d")
        Path("a.py").write_text("x = 1\n")
    finally:
        os.chdir(before)


def endless_trees(folder: Path, depth: int) -> None:
    """10 ** depth files, in as many trees as `depth`."""
    import_commit(folder, [("a.py", b"x = 1\n")])
    run_git(folder, "config", "core.bare", "true")  # nothing to compare with a work tree
    sha, kind = run_git(folder, "rev-parse", "HEAD:a.py"), "100644 blob"
    for _ in range(depth):
        lines = "".join(f"{kind} {sha}\t{name}.py\n" for name in range(10))
        sha, kind = run_git(folder, "mktree", stdin=lines.encode()), "040000 tree"
    run_git(folder, "update-ref", "HEAD", run_git(folder, "commit-tree", "-m", "Bomb", sha))


def long_path(folder: Path, length: int) -> None:
    import_commit(folder, [("good.py", GOOD.encode())])
    sha = run_git(folder, "rev-parse", "HEAD:good.py")
    lines = "".join(f"100644 blob {sha}\t{name}.py\n" for name in ("a" * length, "good"))
    tree = run_git(folder, "mktree", stdin=lines.encode())
    run_git(folder, "update-ref", "HEAD", run_git(folder, "commit-tree", "-m", "Bomb", tree))


def long_message(folder: Path, size: int) -> None:
    import_commit(
        folder, [("good.py", GOOD.encode())], message=b"committer > 1 +0000 " * (size // 20)
    )


def many_refs(folder: Path, count: int) -> None:
    import_commit(folder, [("good.py", GOOD.encode())])
    head = run_git(folder, "rev-parse", "HEAD")
    run_git(folder, "remote", "add", "origin", "https://github.com/ada/limits")
    names = sorted(
        f"refs/{kind}{number:07}"
        for kind in ("tags/v", "remotes/origin/b")
        for number in range(count)
    )
    lines = "".join(f"{head} {name}\n" for name in names)
    (folder / ".git" / "packed-refs").write_text("# pack-refs with: peeled sorted\n" + lines)


def slow_rules(folder: Path, count: int) -> None:
    rules = ["*a" * 20 + "b", "**/a/" * 20 + "b", "a*" * 400 + "[!a]"] * (count // 3)
    names = {"/".join(["a" * 99] * 9) + ".py": "x = 1\n", "a/" * 99 + "c.py": "x = 1\n"}
    ignore = "\n".join(rules)
    write_files(folder, {**names, ".gitignore": ignore, ".codeqaignore": ignore})


def inflating_pack(folder: Path, count: int) -> None:
    """Each file is 1 MB, and 2 kB in the pack."""
    contents = ((b"x%05d = 1\n" % number) * 90_000 for number in range(count))
    import_commit(folder, ((f"f{number}.py", text) for number, text in enumerate(contents)))


def notebooks(folder: Path, size: int) -> None:
    """Notebooks of about the size that is still read, and one that is far beyond it."""
    picture = {"output_type": "display_data", "data": {"image/png": "A" * size}}
    cell = {"cell_type": "code", "source": ["x = 1\n"], "outputs": [picture]}
    write_files(
        folder,
        {
            "good.py": GOOD,
            "pictures.ipynb": json.dumps({"cells": [cell]}),
            "deep.ipynb": '{"cells":' + "[" * size,
            "deeper.ipynb": '{"cells":[' + '{"a":' * (size // 5),
            "lists.ipynb": '{"cells":[' + "[]," * (size // 3) + "[]]}",
            "objects.ipynb": '{"cells":[' + '{"":0},' * (size // 7) + "{}]}",
            "cells.ipynb": json.dumps({"cells": [{"source": "# A\n"}] * (size // 20)}),
            "line.ipynb": json.dumps({"cells": [{"source": "a" * (size - 40)}]}),
            "number.ipynb": '{"cells":' + "1" * size + "}",
        },
    )
    with (folder / "oversized.ipynb").open("w") as file:
        file.write('{"cells": [')
        for _ in range(20):
            file.write(json.dumps(cell) + ",")
        file.write("{}]}")


# What grammars find hard: each is repeated, and some are closed again.
_OPENINGS = (
    *"( [ { < ((( [[[ {{{ a( f(a, a?b: a<b> if(a) if(a){ else<a> !~- -- ** &* :: . a.".split(),
    *"${ #{ ${a".split(),
    *("x y=1; case_1: 'a' \"\"\" ''' /* // # <<E\n `${ \\ @a \n\t\n ;".split(" ")),
    *(
        "def f(): \n ",
        "class A{",
        "function f(){",
        "switch(a){case 1:",
        "a=>",
        "=>",
        "fn f(){",
        "mod a{",
    ),
    *(
        "#if A\n",
        "<?php ",
        "<<<E\n",
        "template<class T> ",
        "namespace a{",
        "begin\n",
        "do\n",
        "A<A<",
    ),
    *(
        "\n" + " " * 9,
        "'\n",
        '"\n',
        "é",
        "a\n\n",
        "a,",
        "|a|",
        'f"{',
        'r#"',
        "%w(",
        "x\\\n",
        "$(",
        "[[",
    ),
)


def grammar_bombs(size: int) -> Iterator[str]:
    """Texts of about `size` characters."""
    for opening in _OPENINGS:
        yield opening * (size // len(opening))


def remove(folder: Path) -> None:
    """Remove what may be too deep for Python to."""
    subprocess.run(["rm", "-rf", "--", str(folder)], check=True)


BOMBS = (
    Bomb("sparse files of 10 GB", sparse_files, 10 * GIGABYTE, 10 * GIGABYTE, skipped="oversized"),
    Bomb("a line of 1 GB", long_line, 10_000_000, GIGABYTE, skipped="oversized"),
    Bomb("a blob of 2 GB in git", large_blob, 20_000_000, 2 * GIGABYTE, skipped="oversized"),
    Bomb("1,000,000 files in one tree", many_files, 1_000, 1_000_000),
    Bomb("1,000,000 files in nested trees", many_nested_files, 1_000, 1_000_000),
    Bomb("1,000,000 files on disk", many_plain_files, 1_000, 1_000_000),
    Bomb("1,000,000 pictures", many_assets, 5_000, 999_999, skipped="not a known text format"),
    Bomb("10,000 nested trees", deep_trees, 2_000, 10_000, skipped="longer than 1,000"),
    Bomb("50,000 nested trees", deep_trees, 50_000, 50_000, refused="nested too"),
    Bomb("10,000 nested folders", deep_folders, 2_000, 10_000, skipped="nested more than 100"),
    Bomb("trees of 10 ** 12 files", endless_trees, 12, 12, refused="files; index a part"),
    Bomb("a path of 100 kB", long_path, 100_000, 100_000, skipped="longer than 1,000"),
    Bomb("a commit's message of 100 MB", long_message, 5_000_000, 100_000_000),
    Bomb("200,000 refs", many_refs, 1_000, 100_000),
    Bomb("rules that take for ever", slow_rules, 60, 60),
    Bomb("a pack that inflates 500 times", inflating_pack, 5, 300, refused="characters of text"),
    Bomb("notebooks of 10 and 200 MB", notebooks, 400_000, 9_900_000, skipped="readable notebook"),
)
