"""Any bytes, as a file of any language, become chunks that hold every line exactly once.

Run by `make fuzz`; what it found stands in `tests/fuzz/corpus/chunker`.
"""

from data_tools.chunk import MAX_CHARS, Chunk, chunk_file, cut_paragraphs
from data_tools.languages import LANGUAGES
from data_tools.sources import Repository, SourceFile, make_source_file
from data_tools.text import count_lines, split_lines
from tests.fuzz import harness

SIZES = (1, 40, 200, MAX_CHARS)  # of chunks, in characters
REPOSITORY = Repository("fuzzed", "/fuzzed", None, "c" * 40)


def check(data: bytes) -> None:
    """Read a file as an index does, and cut it.

    :param data: a byte for the language, a byte for the size of chunks, then the file.
    """
    if len(data) < 2:
        return
    language = LANGUAGES[data[0] % len(LANGUAGES)]
    name = f"file{language.suffixes[0]}"
    file = make_source_file(REPOSITORY, name, data[2:])
    if not isinstance(file, SourceFile):
        assert file.reason, "skipped without a reason"
        return
    max_chars = SIZES[data[1] % len(SIZES)]
    for chunks in (chunk_file(file, max_chars=max_chars), cut_paragraphs(file)):
        check_cover(file, chunks)


def check_cover(file: SourceFile, chunks: list[Chunk]) -> None:
    """Raise if a line is in no chunk or in two, or if a chunk's lines are not those it names."""
    lines = split_lines(file.text)
    next_line = 1
    for chunk in chunks:
        assert chunk.start_line == next_line, "a line is in no chunk, or in two"
        assert chunk.text == "".join(lines[chunk.start_line - 1 : chunk.end_line])
        chunk.symbol.encode("utf-8")
        next_line = chunk.end_line + 1
    assert next_line == count_lines(file.text) + 1, "lines at the end are in no chunk"


if __name__ == "__main__":
    harness.main("chunker", check)
