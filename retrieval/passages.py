"""From scored chunks to the passages that are shown: spread over files, neighbours joined.

Ten pieces of one file say less than the best of several, and two pieces that follow each other
read better as one. Pure functions: no files, no models.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from data_tools.chunk import Chunk

FILE_DECAY = 0.95  # factor on a chunk's score for each better one of the same file
MAX_PASSAGE_CHARS = 2_400  # of neighbours joined: one and a half of the largest chunks


@dataclass(frozen=True)
class Passage:
    """Chunks of one file that follow each other, as one.

    :param score: of the best of them.
    :param numbers: of the chunks, ascending.
    """

    score: float
    chunk: Chunk
    numbers: tuple[int, ...]


def spread_over_files(
    scores: Mapping[int, float], files: Mapping[int, Hashable], *, decay: float = FILE_DECAY
) -> dict[int, float]:
    """Lower the score of each chunk by the better ones of its own file.

    :param scores: chunk number → score, at least 0.
    :param files: chunk number → its file.
    :param decay: factor for each better chunk, in (0, 1].
    :return: chunk number → score, best first; ties by number.
    """
    seen: dict[Hashable, int] = {}
    lowered = {}
    for number in sorted(scores, key=lambda number: (-scores[number], number)):
        better = seen.get(files[number], 0)
        seen[files[number]] = better + 1
        lowered[number] = scores[number] * decay**better
    return dict(sorted(lowered.items(), key=lambda item: (-item[1], item[0])))


def join_neighbours(
    scores: Mapping[int, float],
    chunks: Mapping[int, Chunk],
    *,
    limit: int | None = None,
    max_chars: int = MAX_PASSAGE_CHARS,
) -> list[Passage]:
    """Make passages of chunks: one that touches a better passage joins it.

    :param scores: chunk number → score, best first. The chunks of a file are numbered in order.
    :param limit: how many passages to make; None for all. The first ten are the same ten whatever
        it is, as a chunk joins the best passage that it can.
    :param max_chars: the longest a passage may become by joining.
    :return: best first.
    """
    passages: list[Passage] = []
    touching: dict[int, list[int]] = {}  # chunk number → places of the passages it would extend
    for number, score in scores.items():
        chunk = chunks[number]
        for place in sorted(touching.get(number, ())):
            if _fits(passages[place], number, chunk, max_chars):
                passages[place] = _join(passages[place], number, chunk)
                break
        else:
            place = len(passages)
            if place == limit:
                continue
            passages.append(Passage(score, chunk, (number,)))
        for end in (passages[place].numbers[0] - 1, passages[place].numbers[-1] + 1):
            touching.setdefault(end, []).append(place)
    return passages


def _fits(passage: Passage, number: int, chunk: Chunk, max_chars: int) -> bool:
    """Tell whether `chunk` comes right before or after a passage, and may join it."""
    return (
        number in (passage.numbers[0] - 1, passage.numbers[-1] + 1)
        and (passage.chunk.repo, passage.chunk.path) == (chunk.repo, chunk.path)
        and len(passage.chunk.text) + len(chunk.text) <= max_chars
    )


def _join(passage: Passage, number: int, chunk: Chunk) -> Passage:
    first, second = passage.chunk, chunk
    if number < passage.numbers[0]:
        first, second = second, first
    symbols = dict.fromkeys(filter(None, [*first.symbol.split(", "), *second.symbol.split(", ")]))
    joined = replace(
        first, end_line=second.end_line, symbol=", ".join(symbols), text=first.text + second.text
    )
    return Passage(passage.score, joined, tuple(sorted((*passage.numbers, number))))
