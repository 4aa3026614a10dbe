"""A model's text as it streams, without secrets: what it was trained on may hold some.

What was sent cannot be taken back. So the last word is held until it is over where it may be the
beginning of a key: after `password = `, or unless it is made of plain words, as `The` and
`TokenBucket` are. A private key is held from its first line to its last. With what stands before
it, each word is then judged once.
"""

import re
from collections.abc import Generator
from contextlib import closing

from data_tools.errors import CodeQAError
from data_tools.secrets import find_secrets

MAX_HELD_CHARS = 20_000  # of a private key, or of a word; longer than either is
MAX_BEFORE_CHARS = 400  # of what stands before a word, and may name it

# How keys begin that begin as words do; what stands for a whole word of these is held.
_BEGINNINGS = (
    "AC AGE AIza AKC AKIA ASIA A3T EAAA GOCSPX NRAK PMAK SG SK api dapi dckr discord doo dop dor "
    "eyJ ghp gho ghu ghs ghr github glc glpat glsa gsk hf hooks hvb hvr hvs key lin npm pypi rk "
    "sbp shpat shpca shppa shpss sk sq whsec xapp xox ya"
).split()
_PLAIN_WORD = re.compile(
    r"[\"'`(*\[]{0,4}(?P<word>(?:[A-Z]?[a-z]+|[A-Z]){1,6})[\"'`)*\].,;!?]{0,4}"
)
MAX_PLAIN_CHARS = 24
_GIVEN = re.compile(r"[=:,(][\s\"'`]{0,8}\Z")  # what follows is the value of something

_WORD_AT_END = re.compile(r"(?<![!-~])[!-~]*\Z")  # of the letters and signs that keys are made of
_KEY_NAME = r"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_KEY_END = rf"(?s:.)*-----END{_KEY_NAME}[!-~]*[^!-~]"
# Its first line is being written, or its last has not come.
_OPEN_KEY = re.compile(rf"-----BEGIN(?:[A-Z0-9 ]{{0,40}}-{{0,5}}\Z|{_KEY_NAME}(?!{_KEY_END}))")


def redact_stream(pieces: Generator[str]) -> Generator[str]:
    """Pass a text on piece by piece, without the secrets in it; closing this closes `pieces`.

    :raises CodeQAError: `pieces` does; what it had yielded was passed on before.
    """
    stream = RedactedStream()
    with closing(pieces):
        try:
            for piece in pieces:
                if decided := stream.add(piece):
                    yield decided
        except CodeQAError:
            if rest := stream.finish():
                yield rest
            raise
    if rest := stream.finish():
        yield rest


class RedactedStream:
    """Takes a text piece by piece, and gives back what of it holds no secret."""

    def __init__(self) -> None:
        self._before = ""  # the end of what was decided, as it was written
        self._held = ""

    def add(self, piece: str) -> str:
        """Take the next piece; return what is decided by it, which may be nothing."""
        self._held += piece
        word, key = _WORD_AT_END.search(self._held), _OPEN_KEY.search(self._held)
        assert word  # it matches the empty end
        end = len(self._held) if self._is_plain() else word.start()
        end = min(end, key.start() if key else end)
        return self._decide(end if len(self._held) < MAX_HELD_CHARS else len(self._held))

    def _is_plain(self) -> bool:
        """Whether the last word, with what of it was sent, is no beginning of a secret."""
        text = self._before[-2 * MAX_PLAIN_CHARS :] + self._held
        last = _WORD_AT_END.search(text)
        assert last
        plain = _PLAIN_WORD.fullmatch(last[0])
        return (
            plain is not None
            and len(plain["word"]) <= MAX_PLAIN_CHARS
            and not any(known.startswith(plain["word"]) for known in _BEGINNINGS)
            and not _GIVEN.search(text, 0, last.start() + plain.start("word"))
        )

    def finish(self) -> str:
        """Return what was held at the end of the text."""
        return self._decide(len(self._held))

    def _decide(self, end: int) -> str:
        decided, self._held = self._held[:end], self._held[end:]
        known, text = len(self._before), self._before + decided
        parts, done = [], known
        for span in find_secrets(text):
            if span.end > known:
                start = max(span.start, known)
                newlines = "\n" * text.count("\n", start, span.end)
                parts += [text[done:start], f"[redacted: {span.kind}]", newlines]
                done = span.end
        self._before = text[-MAX_BEFORE_CHARS:]
        return "".join([*parts, text[done:]])
