"""Bytes to text and text to lines, in the one way that makes line numbers agree with git hosts.

`str.splitlines` also splits at form feeds and Unicode separators; git hosts and editors do not,
so citations would drift. Only a newline ends a line here.
"""

import codecs

from charset_normalizer import from_bytes

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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
        guess = from_bytes(data).best()
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
