"""Bytes to text and text to lines, in the one way that makes line numbers agree with git hosts.

`str.splitlines` also splits at form feeds and Unicode separators; git hosts and editors do not,
so citations would drift. Only a newline ends a line here.
"""

import codecs
import re

from charset_normalizer import from_bytes

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Rarer ones are named by mistake more often than they are met.
_LEGACY_ENCODINGS = "gb18030 big5 shift_jis euc_jp euc_kr cp1250 cp1251 cp1253 koi8_r".split()
_NON_ASCII = re.compile(rb"[\x80-\xff]+")
_CONTROL = bytes(set(range(32)) - set(b"\a\b\t\n\v\f\r\x1b"))
MAX_CONTROL_SHARE = 0.001  # of the bytes; text holds none, or a stray one


def decode_text(data: bytes) -> str | None:
    """Decode a file's bytes; line ends become a single newline.

    :return: the text, or None where the bytes are no text in any encoding that can be told.
    """
    text = _decode(data)
    return None if text is None else text.replace("\r\n", "\n")


def _decode(data: bytes) -> str | None:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                return None
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_legacy(data)


def _decode_legacy(data: bytes) -> str | None:
    """Decode text that is not, or not quite, UTF-8."""
    if len(data) - len(data.translate(None, _CONTROL)) > MAX_CONTROL_SHARE * len(data):
        return None
    runs = _NON_ASCII.findall(data)
    text = data.decode("utf-8", errors="replace")
    if text.count("\ufffd") * 10 < sum(char > "\x7f" for char in text):
        return text  # UTF-8 with a flaw
    # Letters with accents stand alone among plain ones; other scripts come in runs.
    if sum(len(run) == 1 for run in runs) * 2 >= len(runs):
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            return data.decode("latin-1")
    guess = from_bytes(data, cp_isolation=_LEGACY_ENCODINGS).best()
    return None if guess is None else str(guess)


def split_lines(text: str) -> list[str]:
    """Split `text` into lines that keep their newline, so that joining them gives it back."""
    lines = text.split("\n")
    last = lines.pop()
    kept = [line + "\n" for line in lines]
    return [*kept, last] if last else kept


def count_lines(text: str) -> int:
    """Count the lines of `text` as `split_lines` would split it."""
    return text.count("\n") + (not text.endswith("\n") and bool(text))
