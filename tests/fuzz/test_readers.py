"""Whatever a reader is given, it gives what it promises or the error that it promises."""

import contextlib
import json
import tempfile
from pathlib import Path

import pathspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.exchange_json import read_exchange
from app.markdown import render_blocks
from data_tools.chunk import Chunk
from data_tools.docs_page import read_document
from data_tools.docstrings import find_definitions
from data_tools.errors import ConfigError
from data_tools.filters import read_ignore_rules
from data_tools.headings import split_sections
from data_tools.languages import LANGUAGES
from data_tools.notebook import render_notebook
from data_tools.sources import SourceFile
from data_tools.text import count_lines, decode_text, split_lines
from retrieval.citations import check_citations, without_citations
from training.config import TrainConfig, load_config

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from("cells source cell_type metadata format typed drafts level".split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PROSE = st.lists(
    st.sampled_from("# = - ` ~ < > [ ] ( ) : | * \n \t a é : L 1 [1:L2-L3] ``` --- +++".split(" "))
    | st.text(max_size=3),
    max_size=40,
).map("".join)
YAML = st.lists(
    st.sampled_from(
        [
            *"a: \n|  |- |? |[|]|{|}|,|&a |*a|<<: |\t|--- |...|#|%|'|\"".split("|"),
            *"!!set |!!timestamp |!!int |!!binary |2026-13-45|0x|0b|1:99|1e400|.inf".split("|"),
            *"objective: pretrain\n|model: |data: |streams: ".split("|"),
        ]
    )
    | st.text(max_size=4),
    max_size=16,
).map("".join)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_text_or_none(data: bytes) -> None:
    text = decode_text(data)
    assert text is None or "".join(split_lines(text)) == text
    assert text is None or len(split_lines(text)) == count_lines(text)


@given(content=JSON)
def test_any_json_is_a_notebook_or_none(content: object) -> None:
    try:
        text = render_notebook(json.dumps({"cells": content}))
    except ValueError as error:
        assert str(error).startswith("not a notebook")
    else:
        text.encode("utf-8")


@given(text=PROSE, language=st.sampled_from([each.name for each in LANGUAGES]))
def test_sections_cover_any_prose_once(text: str, language: str) -> None:
    lines = split_lines(text)
    sections = split_sections(lines, language)
    covered = [number for start, end, _ in sections for number in range(start, end)]
    assert covered == list(range(len(lines)))


@given(text=PROSE, language=st.sampled_from([each.name for each in LANGUAGES if each.grammar]))
def test_definitions_lie_within_any_code(text: str, language: str) -> None:
    file = SourceFile("limits", "c" * 40, "src/file", language, text, "0" * 64)
    for definition in find_definitions(file):
        assert 1 <= definition.start_line <= definition.end_line <= count_lines(text)


@given(text=PROSE)
def test_citations_of_any_text_lie_within_the_evidence(text: str) -> None:
    evidence = [Chunk("limits", "c" * 40, "a.py", 2, 3, "python", "", "x\ny\n")]
    checked = check_citations(text, evidence, {})
    assert all(2 <= c.start_line <= c.end_line <= 3 for c in checked.citations)
    assert check_citations(checked.text, evidence, {}).citations == checked.citations
    without_citations(text)


@given(text=PROSE)
def test_any_answer_is_rendered_without_its_own_html(text: str) -> None:
    assert "<script" not in "".join(render_blocks(f"{text}<script>x</script>", {}))


@settings(max_examples=300)
@given(text=YAML)
@example("? !!set {a}\n: 1\n")
@example("a: 2026-13-45\n")
@example("a: !!int ''\n")
@example("a: &a [*a]\n")
@example("a: &a {b: *a}\n")
@example("[" * 3_000)
@example("a: " + "{a: " * 500)
@example("a: !!timestamp x\n")
@example("a: !!binary é\n")
@example("{'a': 1}: 1\n")
def test_any_yaml_is_a_configuration_or_an_error_that_names_the_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.yaml"
        file.write_text(text, "utf-8", errors="replace")
        try:
            assert isinstance(load_config(file), TrainConfig)
        except ConfigError as error:
            assert "run.yaml" in str(error)


@given(content=JSON | st.text(max_size=30))
def test_any_json_is_an_exchange_or_none(content: object) -> None:
    with contextlib.suppress(ValueError):
        read_exchange(json.dumps(content))


@given(text=PROSE, tag=st.sampled_from("p pre ul dl table h1 code div script math".split()))
def test_any_page_is_a_document(text: str, tag: str) -> None:
    body = f"<title>A</title><main><{tag}>{text}<{tag}>{text}".encode("utf-8", "replace")
    document = read_document(body, "https://docs.example.org/")
    assert all(1 <= anchor.line <= count_lines(document.text) + 1 for anchor in document.anchors)


@settings(max_examples=400)
@given(
    rules=st.lists(
        st.lists(st.sampled_from("** * a b a* *a*b ? [ab] !a a?".split()), min_size=1, max_size=5),
        min_size=1,
        max_size=3,
    ),
    path=st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=6),
    folder=st.booleans(),
)
def test_rules_made_linear_say_what_they_said(
    rules: list[list[str]], path: list[str], folder: bool
) -> None:
    lines = ["/".join(rule) + "/" * folder for rule in rules]
    name = "/".join(path)
    expected = pathspec.GitIgnoreSpec.from_lines(lines).check_file(name).include
    assert read_ignore_rules(lines).check_file(name).include == expected


@pytest.mark.parametrize(
    "rule", ["*a" * 20 + "b", "**/a/" * 20 + "b", "?*" * 200 + "b", "a*" * 400]
)
@pytest.mark.parametrize("path", ["a" * 1_000, "a/" * 100 + "c", "/".join(["a" * 99] * 9)])
@pytest.mark.timeout(5)
def test_no_rule_takes_long_whatever_the_path(rule: str, path: str) -> None:
    for _ in range(100):
        read_ignore_rules([rule]).match_file(path)
