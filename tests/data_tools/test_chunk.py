"""Chunks cover every line once, keep to their size, and are named after what they hold."""

import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools import syntax
from data_tools.chunk import MAX_CHARS, MAX_SYMBOLS, Chunk, chunk_file, cut_paragraphs
from data_tools.languages import LANGUAGES
from data_tools.sources import SourceFile
from data_tools.text import count_lines, split_lines
from tests.data_tools.samples import SAMPLES, Sample

NAMES = [language.name for language in LANGUAGES]
WITH_GRAMMAR = [language.name for language in LANGUAGES if language.grammar]
SCRAPS = (
    *"( ) [ ] { } < > ; : , . = => -> :: \" ' ` # // /* */ <<EOF \\ @ $ % & | ~ ? ! \t".split(" "),
    *"class def fn func function if else end do return import struct impl namespace".split(),
    *"---\n,===\n,```\n,~~~\n,# A\n,\n\n\n,\x00,\x0c,\x85,\u2028,\r,é,日本,🙂,\ufeff".split(","),
)


def check_cut(
    language: str, text: str, max_chars: int = MAX_CHARS, **options: float
) -> list[Chunk]:
    """The chunks of a file, checked for what holds of all chunks."""
    file = SourceFile("limits", "c" * 40, "src/file", language, text, "0" * 64)
    check_cover(cut_paragraphs(file, max_chars=max_chars), language, text, max_chars)
    chunks = chunk_file(file, max_chars=max_chars, **options)
    check_cover(chunks, language, text, max_chars)
    return chunks


def check_cover(chunks: Sequence[Chunk], language: str, text: str, max_chars: int) -> None:
    """Every line is in one chunk, and no chunk is larger than it must be."""
    lines = split_lines(text)
    assert "".join(chunk.text for chunk in chunks) == text
    next_line = 1
    for chunk in chunks:
        assert chunk.start_line == next_line
        assert chunk.text == "".join(lines[chunk.start_line - 1 : chunk.end_line])
        assert len(chunk.text) <= max_chars or chunk.start_line == chunk.end_line
        assert chunk.text
        assert (chunk.repo, chunk.commit, chunk.path) == ("limits", "c" * 40, "src/file")
        assert chunk.language == language
        next_line = chunk.end_line + 1
    assert next_line == count_lines(text) + 1


def symbols(chunks: Sequence[Chunk]) -> list[str]:
    """Each name once, in order."""
    return list(dict.fromkeys(name for c in chunks for name in c.symbol.split(", ") if name))


def chunk_of(chunks: Sequence[Chunk], text: str) -> Chunk:
    """The one chunk that holds `text`."""
    (found,) = [chunk for chunk in chunks if text in chunk.text]
    return found


@settings(max_examples=500)
@given(
    language=st.sampled_from(NAMES),
    scraps=st.lists(st.sampled_from(SCRAPS) | st.text(max_size=5), max_size=60),
    max_chars=st.sampled_from([1, 10, 60, MAX_CHARS]),
)
def test_any_text_in_any_language_is_covered_once(
    language: str, scraps: list[str], max_chars: int
) -> None:
    check_cut(language, "".join(scraps), max_chars)


@settings(max_examples=500)
@given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(SCRAPS)), max_size=8
    ),
    max_chars=st.sampled_from([1, 40, 200, MAX_CHARS]),
)
def test_damaged_source_is_covered_once(
    sample: Sample, edits: list[tuple[float, int, str]], max_chars: int
) -> None:
    text = sample.text
    for place, length, scrap in edits:
        start = int(place * len(text))
        text = text[:start] + scrap + text[start + length :]
    check_cut(sample.language, text, max_chars)


@pytest.mark.parametrize("language", NAMES)
def test_the_text_of_every_language_is_covered_once_in_another_s_form(language: str) -> None:
    generator = random.Random(7)
    for sample in SAMPLES:
        lines = split_lines(sample.text)
        generator.shuffle(lines)
        check_cut(language, sample.text, 100)
        check_cut(language, "".join(lines), 100)


@pytest.mark.parametrize("language", WITH_GRAMMAR)
def test_the_grammar_of_each_language_is_installed(language: str) -> None:
    tree = syntax.parse("x", language, time.monotonic() + 10)
    assert tree.root.end_byte == 1


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.language)
def test_names_are_qualified_as_the_language_does(sample: Sample) -> None:
    expected = [name.replace("·", " ") for name in sample.symbols.split()]
    assert symbols(check_cut(sample.language, sample.text, max_chars=1)) == expected


@pytest.mark.parametrize("language", sorted(set(WITH_GRAMMAR)))
def test_each_language_with_a_grammar_has_a_sample(language: str) -> None:
    assert language in {sample.language for sample in SAMPLES}


@pytest.mark.parametrize(
    ("language", "text", "symbol"),
    [
        ("python", "import x\n\ndef a(): ...\n\nclass B:\n    def c(self): ...\n", "a, B"),
        ("python", "x = 1\n", ""),
        ("csharp", "namespace N.M\n{\n    class A { void B() {} }\n}\n", "N.M, N.M.A"),
        ("cpp", "namespace n {\nclass A { int b() { return 1; } };\n}\n", "n, n::A"),
        ("c", "#ifndef A_H\n#define A_H\nstruct a { int b; };\n#endif\n", "a"),
        (
            "python",
            "".join(f"def f{n}(): ...\n" for n in range(20)),
            "f0, f1, f2, f3, f4, f5, f6, f7",
        ),
        ("markdown", "# A\n\n## B\n\nText.\n", "A, A › B"),
        ("text", "# A\n", ""),
        ("yaml", "a:\n  b: 1\n", ""),
    ],
)
def test_a_small_file_is_one_chunk_named_after_what_it_defines(
    language: str, text: str, symbol: str
) -> None:
    (chunk,) = check_cut(language, text)
    assert chunk.symbol == symbol
    assert len(chunk.symbol.split(", ")) <= MAX_SYMBOLS


def python_class(methods: int, lines: int) -> str:
    """A class with a comment, a decorator, a docstring, and long methods."""
    body = "".join(
        f"    # About method {m}.\n    @decorate({m})\n    def method_{m}(\n        self,\n    ):\n"
        + f'        """Does {m}."""\n'
        + "".join(f"        value_{m} = compute_something({n}, {m})\n" for n in range(lines))
        + "\n"
        for m in range(methods)
    )
    return f'# About the class.\n@register\nclass Big(Base):\n    """Is big."""\n\n{body}'


def test_a_large_class_is_cut_between_its_methods() -> None:
    text = "import os\n\n\n" + python_class(methods=4, lines=20) + "\ndef after():\n    pass\n"
    chunks = check_cut("python", text)
    for method in range(4):
        chunk = chunk_of(chunks, f"def method_{method}(")
        assert f"# About method {method}." in chunk.text
        assert f"@decorate({method})" in chunk.text
        assert f'"""Does {method}."""' in chunk.text
        assert f"compute_something(19, {method})" in chunk.text
        assert chunk.symbol.split(", ")[-1] == f"Big.method_{method}"
    head = chunk_of(chunks, "class Big(Base):")
    assert "# About the class.\n@register\n" in head.text
    assert '"""Is big."""' in head.text
    assert chunk_of(chunks, "def after").symbol == "after"


def test_a_long_function_keeps_its_signature_with_its_first_lines() -> None:
    steps = "".join(f"    first_step = do_something_long({n})\n" for n in range(100))
    text = f"# Why.\ndef run(\n    a: int,\n    b: int,\n) -> int:\n{steps}    return a\n"
    chunks = check_cut("python", text)
    assert len(chunks) > 2
    assert {chunk.symbol for chunk in chunks} == {"run"}
    assert "# Why.\ndef run(" in chunks[0].text
    assert "do_something_long(0)" in chunks[0].text


def test_two_definitions_share_a_chunk_only_if_one_is_small() -> None:
    long = "".join(f"    print('a line of some length', {n})\n" for n in range(25))
    chunks = check_cut("python", f"def a():\n{long}\ndef b():\n{long}\ndef c():\n    pass\n")
    assert [chunk.symbol for chunk in chunks] == ["a", "b, c"]


def test_a_doc_comment_stays_with_what_it_is_about() -> None:
    body = "".join(f'\tfmt.Println("a line of some length", {n})\n' for n in range(30))
    text = "package a\n\n" + "".join(
        f"// Do{n} does {n}.\n// And more.\nfunc (s *Server) Do{n}() {{\n{body}}}\n\n"
        for n in range(3)
    )
    chunks = check_cut("go", text)
    for number in range(3):
        chunk = chunk_of(chunks, f"// Do{number} does")
        assert f"func (s *Server) Do{number}()" in chunk.text
        assert f"Server.Do{number}" in chunk.symbol.split(", ")


def test_the_parts_of_a_large_type_are_named_once() -> None:
    fields = "".join(f'\tField{n} string `json:"field_{n},omitempty"`\n' for n in range(80))
    chunks = check_cut("go", f"package a\n\ntype Config struct {{\n{fields}}}\n")
    assert len(chunks) > 1
    assert symbols(chunks) == ["Config"]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "x = " + "[" * 10_000 + "]" * 10_000 + "\n"),
        ("python", "x = " + "[\n" * 10_000 + "]\n" * 10_000),
        ("javascript", "function f() {\n" * 3_000 + "}\n" * 3_000),
        ("javascript", "(\n" * 20_000),
        ("cpp", "template <typename T>\n" * 5_000 + "class A {};\n"),
        ("c", "int " + "*\n" * 10_000 + "x() { return 0; }\n"),
        ("python", "x = (1 +\n" + "1 +\n" * 10_000 + "1)\n"),
        ("markdown", "> " * 10_000 + "x\n" + "- a\n" * 1_000),
        ("rust", "mod a {\n" * 2_000 + "fn f() {}\n" + "}\n" * 2_000),
    ],
    ids=lambda value: value[:12] if len(value) > 20 else value,
)
def test_code_nested_beyond_reason_neither_crashes_nor_takes_long(language: str, text: str) -> None:
    started = time.monotonic()
    chunks = check_cut(language, text)
    assert time.monotonic() - started < 10
    assert max(len(name) for chunk in chunks for name in chunk.symbol.split(", ")) < 400


def test_characters_that_crash_a_scanner_do_not_reach_it() -> None:
    for character in ("\U00031860", "\U0010ffff", "🙂", "é"):
        text = f"{{{character}\nné() {{\n  echo ${{{character}}} {{{character}..9}}\n}}\n"
        check_cut("shell", text)
    assert symbols(check_cut("shell", "größe() {\n  true\n}\n")) == ["größe"]


def test_a_character_across_two_blocks_of_the_parser_is_whole() -> None:
    pad = "#" * (syntax.READ_BYTES - 8) + "\n"
    for shift in range(4):
        text = pad[shift:] + "def höhe_日本():\n    return 1\n"
        assert symbols(check_cut("python", text))[-1:] == ["höhe_日本"]


def test_a_file_that_takes_too_long_to_parse_is_cut_at_blank_lines() -> None:
    functions = "".join(
        f"def function_{n}():\n" + "    do_something(1)\n" * 30 + "\n" for n in range(1_000)
    )
    parsed = check_cut("python", functions)
    started = time.monotonic()
    fallback = check_cut("python", functions, parse_timeout_s=0.001)
    assert time.monotonic() - started < 5
    assert symbols(parsed)[:2] == ["function_0", "function_1"]
    assert symbols(fallback) == []
    assert len(fallback) > 100
    assert all(chunk.text.startswith("def ") for chunk in fallback)
    assert symbols(check_cut("python", "def f(): ...\n", parse_timeout_s=0)) == []


def test_what_no_grammar_can_read_is_cut_at_blank_lines() -> None:
    text = "@#$%^&*( ]]}{\n\n" * 300
    assert symbols(check_cut("python", text)) == []


def test_lines_are_cut_where_it_hurts_least() -> None:
    paragraph = "word " * 60 + "\n  indented under it\n\n"
    chunks = check_cut("yaml", paragraph * 12)
    assert all(chunk.text.endswith("\n\n") for chunk in chunks)


def test_a_line_longer_than_a_chunk_is_kept_whole() -> None:
    long = "x" * 5_000
    chunks = check_cut("lua", f"a = 1\n{long}\nb = 2\n", max_chars=100)
    assert [chunk.text for chunk in chunks] == ["a = 1\n", f"{long}\n", "b = 2\n"]


def test_paragraphs_are_cut_at_the_last_blank_line_that_fits() -> None:
    text = "a = 1\n\nb = 2\nc = 3\n\nd = 4\ne = 5\n"
    file = SourceFile("limits", "c" * 40, "src/file", "python", text, "0" * 64)
    chunks = cut_paragraphs(file, max_chars=24)
    assert [(c.start_line, c.end_line, c.symbol) for c in chunks] == [(1, 5, ""), (6, 7, "")]


def test_an_empty_file_has_no_chunks() -> None:
    for language in NAMES:
        assert check_cut(language, "") == []


@pytest.mark.parametrize("max_chars", [0, -1])
def test_a_size_below_one_is_a_wrong_argument(max_chars: int) -> None:
    with pytest.raises(ValueError, match="max_chars must be at least 1"):
        check_cut("python", "x = 1\n", max_chars)


def test_the_same_file_is_always_cut_alike() -> None:
    for sample in SAMPLES:
        assert check_cut(sample.language, sample.text, 200) == check_cut(
            sample.language, sample.text, 200
        )
