"""Ways to damage a file: cut short, altered, lengthened, or replaced by what is no file.

Each has a name that says what was done, so that a case that failed can be made again. Offsets come
from a seed and from where file formats keep their numbers.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

LENGTHS = (0, 1, 4, 8, 16, 64, 100, 512, 1024, 4096, 4097, 8192)  # bytes left of a file
HEADER = (0, 4, 5, 8, 12, 16, 18, 20, 24, 28, 32, 33, 40, 44, 48, 56, 60, 64, 92, 96, 100)
FLIPS = 24  # at offsets by chance, a file
PAGE = 4096
ABSURD = {  # numbers that a size should never be, as files hold them
    "-1": b"\xff" * 8,
    "the largest": b"\xff" * 7 + b"\x7f",
    "2^40": (1 << 40).to_bytes(8, "little"),
    "0": bytes(8),
}


@dataclass(frozen=True)
class Damage:
    """One thing done to one file.

    :param file: its path in the folder that is damaged.
    :param keeps_size: only bytes are altered, as by a failing disk.
    """

    file: str
    name: str
    apply: Callable[[Path], None]
    keeps_size: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def alter_unnoticed(damage: Damage, file: Path) -> None:
    """Damage a file in a way that its size, time and place on disk do not show."""
    status = file.stat()
    damage.apply(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def content_damages(root: Path, name: str, seed: int = 0) -> Iterator[Damage]:
    """Yield damage to the bytes of a file."""
    size = (root / name).stat().st_size
    chance = random.Random(f"{seed} {name}")
    lengths = {*LENGTHS, size // 4, size // 2, size * 3 // 4, size - PAGE, size - 8, size - 1}
    for length in sorted(length for length in lengths if 0 <= length < size):
        yield Damage(name, f"cut to {length:,} bytes", partial(_cut, length=length))
    for extra in (b"\0", b"\n", chance.randbytes(PAGE)):
        yield Damage(name, f"{len(extra):,} more bytes", partial(_append, more=extra))
    offsets = [*HEADER, *(chance.randrange(size) for _ in range(FLIPS if size else 0))]
    for offset in (offset for offset in offsets if offset < size):
        bit = chance.randrange(8)
        yield _write(name, f"bit {bit} of byte {offset:,} flipped", offset, flip=1 << bit)
    places = [*HEADER, size - 16, size - 8, *(chance.randrange(size or 1) for _ in range(4))]
    for offset in (offset for offset in places if 0 <= offset <= size - 8):
        what = chance.choice(list(ABSURD))
        yield _write(name, f"{what} at byte {offset:,}", offset, ABSURD[what])
    for start in sorted({0, size // 2 // PAGE * PAGE, max(size - PAGE, 0)}):
        count = min(PAGE, size - start)
        yield _write(name, f"{count:,} zeros at byte {start:,}", start, bytes(count))
        yield _write(
            name, f"{count:,} bytes by chance at {start:,}", start, chance.randbytes(count)
        )


def replacements(name: str) -> Iterator[Damage]:
    """Yield what may stand in a file's place that is no file, or none that ends."""
    kinds: dict[str, Callable[[Path], None]] = {
        "gone": lambda file: None,
        "a folder": Path.mkdir,
        "a link to itself": lambda file: file.symlink_to(file),
        "a link to nothing": lambda file: file.symlink_to(file.with_name("nothing")),
        "a link to endless zeros": lambda file: file.symlink_to("/dev/zero"),
        "a link to its folder": lambda file: file.symlink_to(file.parent),
        "a pipe that nobody writes to": lambda file: os.mkfifo(file),
    }
    for what, make in kinds.items():
        yield Damage(name, f"is {what}", partial(_replace, make=make))


def swaps(root: Path, name: str, others: list[Path]) -> Iterator[Damage]:
    """Yield the content of other files in place of a file's own; times are kept."""
    own = (root / name).read_bytes()
    for other in others:
        if other.read_bytes() != own:
            same = other.stat().st_size == len(own)
            what = f"content of {other.parent.name}/{other.name}"
            yield Damage(name, what, partial(_overwrite, other=other), same)


def _write(
    name: str, what: str, offset: int, data: bytes | None = None, *, flip: int = 0
) -> Damage:
    def apply(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(offset)
            new = bytes([opened.read(1)[0] ^ flip]) if data is None else data
            opened.seek(offset)
            opened.write(new)

    return Damage(name, what, apply, keeps_size=True)


def _cut(file: Path, length: int) -> None:
    os.truncate(file, length)


def _append(file: Path, more: bytes) -> None:
    with file.open("ab") as opened:
        opened.write(more)


def _overwrite(file: Path, other: Path) -> None:
    with other.open("rb") as source, file.open("r+b") as opened:
        opened.truncate(0)
        shutil.copyfileobj(source, opened)


def _replace(file: Path, make: Callable[[Path], None]) -> None:
    if file.is_dir():
        shutil.rmtree(file)
    else:
        file.unlink()
    make(file)
