"""Documented definitions, in each language that is parsed."""

import pytest

from data_tools.docstrings import Definition, find_definitions
from data_tools.sources import SourceFile
from data_tools.text import split_lines


def find(text: str, language: str = "python") -> list[Definition]:
    return find_definitions(SourceFile("repo", "c" * 40, "a/file", language, text, "0" * 64))


PYTHON = '''\
@cached
def open_box(key):
    # not this
    r"""Open the box.

    It may be empty.
    """

    def inner():
        """Hidden."""

    return key


class Box:
    """Holds things."""

    if True:
        def shut(self): pass
'''


def test_a_python_function_has_its_decorators_and_its_docstring_s_lines() -> None:
    function, box, method = find(PYTHON)
    assert (function.symbol, function.noun, function.is_type) == ("open_box", "function", False)
    assert (function.start_line, function.end_line) == (1, 12)
    assert function.docstring == "Open the box.\n\nIt may be empty."
    assert function.docstring_lines == (4, 7)
    assert (box.noun, box.is_type, box.docstring_lines) == ("class", True, (16, 16))
    assert (method.symbol, method.name, method.noun) == ("Box.shut", "shut", "method")
    assert (method.docstring, method.docstring_lines) == ("", (0, 0))


DOCUMENTED = {
    "javascript": ("/** Opens it. */\nexport function open() {}\n", "open", "function"),
    "typescript": ("/**\n * Opens it.\n */\n@A()\nclass Open {}\n", "Open", "class"),
    "tsx": ("/** Opens it. */\nconst Open = () => 1;\n", "Open", "function"),
    "go": ("package a\n\n// Opens it.\nfunc (b *Box) Open() {}\n", "Box.Open", "method"),
    "rust": ("/// Opens it.\n#[inline]\npub fn open() {}\n", "open", "function"),
    "java": ("/** Opens it. */\n@A\npublic interface Open {}\n", "Open", "interface"),
    "c": ("/* Opens it. */\nstatic int open_it(int a) { return 1; }\n", "open_it", "function"),
    "cpp": ("namespace a {\n/// Opens it.\nclass Open { int b; };\n}\n", "a::Open", "class"),
    "csharp": ("/// <summary>\n/// Opens it.\n/// </summary>\nclass Open {}\n", "Open", "class"),
    "ruby": ("class Box\n  # Opens it.\n  def open; end\nend\n", "Box.open", "method"),
    "php": ("<?php\n/** Opens it. */\nfunction open() {}\n", "open", "function"),
    "scala": ("/** Opens it. */\ntrait Open {}\n", "Open", "trait"),
    "kotlin": ("/** Opens it. */\nfun open() {}\n", "open", "function"),
    "shell": ("#!/bin/sh\n\n# Opens it.\nopen_it() {\n  echo\n}\n", "open_it", "function"),
}


@pytest.mark.parametrize("language", DOCUMENTED)
def test_a_comment_that_documents_is_found_in_every_language(language: str) -> None:
    text, symbol, noun = DOCUMENTED[language]
    (found,) = [each for each in find(text, language) if each.docstring]
    assert (found.symbol, found.noun) == (symbol, noun)
    assert found.docstring == "Opens it."
    first, last = found.docstring_lines
    assert "Opens it." in "".join(split_lines(text)[first - 1 : last])
    assert "Opens it." not in "".join(split_lines(text)[found.start_line - 1 : found.end_line])


def test_a_rust_method_belongs_to_the_type_it_is_implemented_for() -> None:
    (method,) = find(
        "impl Box {\n    /// Opens it.\n    /// Twice.\n    fn open(&self) {}\n}\n", "rust"
    )
    assert (method.symbol, method.noun) == ("Box.open", "method")
    assert (method.docstring, method.docstring_lines) == ("Opens it.\nTwice.", (2, 3))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("rust", "// Not for rustdoc.\nfn open() {}\n"),
        ("javascript", "// Not for JSDoc.\nfunction open() {}\n"),
        ("go", "package a\n\n// Far above.\n\nfunc Open() {}\n"),
        ("c", "int a; // of the line before\nint open_it(void) { return 1; }\n"),
        ("shell", "#!/bin/sh\nopen_it() {\n  echo\n}\n"),
        ("python", "def open():\n    return 'not a docstring'\n"),
    ],
)
def test_other_comments_document_nothing(language: str, text: str) -> None:
    assert [each.docstring for each in find(text, language)] == [""]


def test_what_cannot_be_parsed_gives_nothing() -> None:
    assert find("A page.\n", "markdown") == []
    file = SourceFile("repo", "c" * 40, "a.py", "python", PYTHON, "0" * 64)
    assert find_definitions(file, parse_timeout_s=0.0) == []
