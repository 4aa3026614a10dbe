"""Where a model's text is cut: too long, or the same over and over.

A server is told how long an answer may be, and some do not listen; small models fall into loops.
Neither may fill a conversation. What came before the cut is kept, and why it was cut is said.
Pure functions of text.
"""

from collections.abc import Generator
from contextlib import closing

CHARS_A_TOKEN = 16  # at most, but for runs of spaces; prose has 4 to 5, code 3 to 4
CHECK_CHARS = 200  # new characters between two looks for a loop
ANCHOR_CHARS = 60  # whose earlier occurrences say how long one turn of the loop may be
MAX_LOOKS = 50  # at earlier occurrences: a turn that holds more of them is not found
LOOP_CHARS = 1_000  # of nothing but repetition, and
LOOP_TURNS = 6  # as many turns: no table, rule or list of numbers in an answer is like that


def within_limits(pieces: Generator[str], *, max_chars: int) -> Generator[str, None, str | None]:
    """Pass pieces of text on until they are too many or a loop; then close their source.

    :param max_chars: of all pieces together; the piece that crosses it is cut.
    :return: why the text was cut, as the end of a sentence; None if it was not.
    """
    text = ""
    looked_at = 0
    with closing(pieces):
        for piece in pieces:
            room = max_chars - len(text)
            text += piece
            if len(piece) > room:
                yield piece[:room]
                return f"it had grown to {max_chars:,} characters"
            yield piece
            if len(text) - looked_at >= CHECK_CHARS:
                looked_at = len(text)
                if is_loop(text):
                    return "it said the same over and over"
    return None


def is_loop(text: str) -> bool:
    """Whether a text ends in `LOOP_TURNS` turns, or `LOOP_CHARS` characters, of one repetition."""
    tail = text[-(LOOP_CHARS * LOOP_TURNS) :]
    anchor = tail[-ANCHOR_CHARS:]
    before = len(tail) - ANCHOR_CHARS
    if not anchor.strip():
        return False
    for _ in range(MAX_LOOKS):
        before = tail.rfind(anchor, 0, before + ANCHOR_CHARS - 1)
        if before < 0:
            return False
        turn = len(tail) - ANCHOR_CHARS - before
        length = max(LOOP_CHARS, LOOP_TURNS * turn)
        if len(tail) >= length and tail[turn - length :] == tail[-length:-turn]:
            return True
    return False
