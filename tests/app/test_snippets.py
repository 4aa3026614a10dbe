"""Chunks are cut into snippets that can be quoted."""

from app.snippets import MAX_WORDS, cut_snippets
from data_tools.chunk import Chunk


def cut(text: str, language: str, start: int = 1) -> list[tuple[int, int, str, bool]]:
    lines = text.count("\n")
    chunk = Chunk("r", "c", "f", start, start + lines - 1, language, "", text)
    return [(s.start_line, s.end_line, s.text, s.is_code) for s in cut_snippets(chunk)]


def test_a_definition_comes_with_its_decorator_signature_and_first_docstring_lines() -> None:
    code = (
        "import time\n\n\n@limited\ndef take(\n    tokens: int,\n) -> bool:\n"
        '    """Take tokens.\n\n    Long story.\n    """\n    return True\n'
    )
    assert cut(code, "python")[0] == (
        4,
        8,
        '@limited\ndef take(\n    tokens: int,\n) -> bool:\n    """Take tokens.',
        True,
    )


def test_a_doc_comment_above_a_definition_belongs_to_it() -> None:
    code = "/// Takes tokens.\n/// Blocks.\npub fn take(n: u32) -> bool {\n    true\n}\n"
    assert cut(code, "rust")[0][:2] == (1, 3)


def test_a_one_line_docstring_ends_the_snippet() -> None:
    code = 'def f():\n    """One line."""\n    x = 1\n    y = 2\n'
    assert cut(code, "python") == [(1, 2, 'def f():\n    """One line."""', True)]


def test_code_without_a_definition_is_cut_into_windows() -> None:
    code = "".join(f"x{n} = {n}\n" for n in range(7))
    assert [(start, end) for start, end, _, _ in cut(code, "python", start=11)] == [
        (11, 15),
        (16, 17),
    ]


def test_headings_badges_and_rules_of_prose_are_no_snippets() -> None:
    prose = "# Title\n\n[![build](b.svg)](b)\n\nIt limits\nrates.\n\n---\n\nMore\n====\n\nEnd.\n"
    assert cut(prose, "markdown") == [(5, 6, "It limits rates.", False), (13, 13, "End.", False)]


def test_a_fenced_block_of_prose_is_code_without_its_fences() -> None:
    prose = "Install it:\n\n```bash\npip install x\n\nx --help\n```\n\nDone.\n"
    assert cut(prose, "markdown") == [
        (1, 1, "Install it:", False),
        (4, 6, "pip install x\n\nx --help", True),
        (9, 9, "Done.", False),
    ]


def test_a_restructuredtext_code_block_is_code_and_roles_become_names() -> None:
    prose = (
        "Use :class:`.Bucket` or :meth:`~limits.Bucket.take`::\n\n    bucket.take()\n\n"
        ".. testcode::\n    :skipif: True\n\n    done()\n\nEnd.\n"
    )
    assert cut(prose, "restructuredtext") == [
        (1, 1, "Use `Bucket` or `limits.Bucket.take`::", False),
        (3, 3, "bucket.take()", True),
        (8, 8, "done()", True),
        (10, 10, "End.", False),
    ]


def test_a_long_paragraph_is_cut_after_a_whole_sentence() -> None:
    text = cut("One two three. " * 40 + "\n", "markdown")[0][2]
    assert text.endswith("three. …")
    assert len(text.split()) <= MAX_WORDS + 1


def test_every_snippet_of_code_is_a_run_of_the_chunk_s_lines() -> None:
    code = "class A:\n    def b(self):\n        return 1\n\n    def c(self):\n        return 2\n"
    lines = code.split("\n")
    for start, end, text, _ in cut(code, "python"):
        assert [line.strip() for line in lines[start - 1 : end]] == [
            line.strip() for line in text.split("\n")
        ]


def test_items_of_a_list_are_snippets_of_their_own() -> None:
    prose = "Options:\n\n* `rate` is how fast\n  it refills\n* `size` is how much it holds\n"
    assert cut(prose, "markdown") == [
        (1, 1, "Options:", False),
        (3, 4, "`rate` is how fast it refills", False),
        (5, 5, "`size` is how much it holds", False),
    ]
