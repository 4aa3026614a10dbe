"""Bytes to text, text to lines, notebooks to text."""

import codecs
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.notebook import render_notebook
from data_tools.text import count_lines, decode_text, split_lines

GERMAN = "// Prüft die Größe der Straße und gibt einen Fehler zurück.\nint länge = 1;\n"
FRENCH = "# « Évaluer » un élève : l'école “été” a déjà coûté 5 €\ndef évaluer(): pass\n"
CHINESE = (
    "// 计算两个数字的和，并返回结果。如果输入无效，则抛出异常。\n"
    "int add(int a, int b) { return a + b; } // 返回总和\n"
)
JAPANESE = "// 合計を計算して結果を返します。入力が無効な場合は例外を投げます。\nint a = 1;\n"
RUSSIAN = "// Вычисляет сумму двух чисел и возвращает результат.\nint a = 1;\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-32"),
        (GERMAN, "latin-1"),
        (GERMAN, "cp1252"),
        (FRENCH, "cp1252"),
        ("# café\nx = 1\n", "latin-1"),
        ("x = 1\n" * 10_000 + "# Señor Pérez\n", "latin-1"),
        (CHINESE, "gbk"),
        (CHINESE, "gb18030"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (RUSSIAN + "🙂\n", "utf-8"),
    ],
)
def test_text_is_read_in_the_encoding_it_was_written_in(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding)) == text


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_either_byte_order_of_utf_16_is_read(mark: bytes) -> None:
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    assert decode_text(mark + GERMAN.encode(encoding)) == GERMAN


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"text\x00text",
        b"\x89PNG\r\n\x1a\n" + bytes(range(1, 256)) * 9,
        b"\x7fELF" + bytes(range(1, 256)),
        codecs.BOM_UTF16_LE + b"\x00\xd8",
        codecs.BOM_UTF8 + b"\xff",
        bytes(range(128, 256)) * 8 + b"\x01\x02\x03\x04",
    ],
)
def test_what_is_no_text_is_none(data: bytes) -> None:
    assert decode_text(data) is None


def test_a_flaw_in_utf_8_costs_one_character_and_not_the_file() -> None:
    data = RUSSIAN.encode() + b"\xff" + RUSSIAN.encode()
    assert decode_text(data) == f"{RUSSIAN}\ufffd{RUSSIAN}"


def test_windows_line_ends_become_plain_ones() -> None:
    assert decode_text(b"a\r\nb\nc\rd\r\n") == "a\nb\nc\rd\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("\n", ["\n"]),
        ("a", ["a"]),
        ("a\n", ["a\n"]),
        ("a\n\nb", ["a\n", "\n", "b"]),
        ("a\x0cb\u2028c\x85d\ve\rf\n", ["a\x0cb\u2028c\x85d\ve\rf\n"]),
    ],
)
def test_only_a_newline_ends_a_line(text: str, lines: list[str]) -> None:
    assert split_lines(text) == lines


@given(st.text())
def test_lines_joined_are_the_text_again(text: str) -> None:
    lines = split_lines(text)
    assert "".join(lines) == text
    assert count_lines(text) == len(lines)
    assert all(lines)


@given(st.binary())
def test_any_bytes_are_text_or_none_and_never_an_error(data: bytes) -> None:
    text = decode_text(data)
    assert text is None or text.encode("utf-8") is not None


def notebook(*cells: object, **fields: object) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells} | fields)


def code(source: object) -> dict[str, object]:
    return {"cell_type": "code", "source": source, "outputs": [{"text": "secret"}], "metadata": {}}


def test_a_notebook_is_its_cells_in_order_without_outputs() -> None:
    raw = notebook(
        {"cell_type": "markdown", "source": ["# Train\n", "\n", "First, load.\n"]},
        code("import torch\n"),
        code("   \n"),
        {"cell_type": "raw", "source": "note"},
        code(["x = 1\r\n", "y = 2"]),
    )
    assert render_notebook(raw) == (
        "# Train\n\nFirst, load.\n\n"
        "```python\nimport torch\n```\n\n"
        "note\n\n"
        "```python\nx = 1\ny = 2\n```\n"
    )


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({"language_info": {"name": "julia"}}, "julia"),
        ({"kernelspec": {"language": "R"}}, "R"),
        ({"language_info": {"name": "a\nb"}}, "python"),
        ({"language_info": "julia"}, "python"),
        (None, "python"),
    ],
)
def test_a_notebook_s_language_is_that_of_its_kernel(metadata: object, language: str) -> None:
    assert render_notebook(notebook(code("x"), metadata=metadata)) == f"```{language}\nx\n```\n"


def test_a_notebook_of_format_3_is_read() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Load"]},
        {"cell_type": "code", "language": "python", "input": ["x = 1\n", "y = 2"], "outputs": []},
    ]
    raw = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}, {"cells": [code("z")]}]})
    assert render_notebook(raw) == "## Load\n\n```python\nx = 1\ny = 2\n```\n\n```python\nz\n```\n"


def test_code_that_holds_a_fence_gets_a_longer_one() -> None:
    assert render_notebook(notebook(code("'''\n```\n'''"))).startswith("`````python\n")


def test_half_a_character_in_the_json_does_not_reach_the_text() -> None:
    text = render_notebook('{"cells": [{"cell_type": "code", "source": "a\\ud800b"}]}')
    assert text.encode("utf-8") == b"```python\na?b\n```\n"


def test_a_notebook_without_cells_is_empty() -> None:
    assert render_notebook(notebook()) == ""


@pytest.mark.parametrize(
    "raw",
    ["", "{", "null", "[]", "{}", '{"cells": null}', '{"cells": 5}', "[" * 100_000, "1" * 5_000]
    + ['{"worksheets": [{}, 5]}', '{"cells": [' + '{"a":' * 50_000],
    ids=lambda raw: raw[:20],
)
def test_what_is_no_notebook_is_a_value_error(raw: str) -> None:
    with pytest.raises(ValueError, match="not a notebook"):
        render_notebook(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                "cells worksheets cell_type source input level metadata language_info name".split()
            ),
            inner | st.sampled_from(["code", "markdown", "heading"]),
        )
    ),
)


@given(JSON)
def test_a_damaged_notebook_is_text_or_a_value_error(value: Any) -> None:  # noqa: ANN401
    try:
        text = render_notebook(json.dumps(value))
    except ValueError:
        return
    assert text == "" or text.endswith("\n")
