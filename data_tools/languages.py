"""What a file is, judged by its name alone: one table, read by every other module.

A file whose name is not in the table is not indexed (`data_tools.filters` says so in its
reason), so that data dumps and assets never reach an index by accident.
"""

import posixpath
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Kind(StrEnum):
    """How a file is cut into chunks."""

    CODE = "code"
    PROSE = "prose"
    CONFIG = "config"
    NOTEBOOK = "notebook"


@dataclass(frozen=True)
class Language:
    """One row of the table.

    :param name: lower case, as `--language` takes it.
    :param kind: how it is chunked.
    :param suffixes: file endings, with the dot, lower case.
    :param file_names: whole file names that have no telling suffix.
    :param grammar: `module:function` of a tree-sitter grammar wheel, or None.
    """

    name: str
    kind: Kind
    suffixes: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    grammar: str | None = None


LANGUAGES: tuple[Language, ...] = (
    Language("python", Kind.CODE, (".py", ".pyi", ".pyx"), (), "tree_sitter_python:language"),
    Language(
        "javascript",
        Kind.CODE,
        (".js", ".jsx", ".mjs", ".cjs"),
        (),
        "tree_sitter_javascript:language",
    ),
    Language(
        "typescript",
        Kind.CODE,
        (".ts", ".mts", ".cts"),
        (),
        "tree_sitter_typescript:language_typescript",
    ),
    Language("tsx", Kind.CODE, (".tsx",), (), "tree_sitter_typescript:language_tsx"),
    Language("go", Kind.CODE, (".go",), (), "tree_sitter_go:language"),
    Language("rust", Kind.CODE, (".rs",), (), "tree_sitter_rust:language"),
    Language("java", Kind.CODE, (".java",), (), "tree_sitter_java:language"),
    Language("c", Kind.CODE, (".c", ".h"), (), "tree_sitter_c:language"),
    Language(
        "cpp",
        Kind.CODE,
        (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".cu", ".cuh"),
        (),
        "tree_sitter_cpp:language",
    ),
    Language("csharp", Kind.CODE, (".cs",), (), "tree_sitter_c_sharp:language"),
    Language(
        "ruby", Kind.CODE, (".rb", ".rake"), ("Rakefile", "Gemfile"), "tree_sitter_ruby:language"
    ),
    Language("php", Kind.CODE, (".php",), (), "tree_sitter_php:language_php"),
    Language("scala", Kind.CODE, (".scala", ".sc", ".sbt"), (), "tree_sitter_scala:language"),
    Language("kotlin", Kind.CODE, (".kt", ".kts"), (), "tree_sitter_kotlin:language"),
    Language("shell", Kind.CODE, (".sh", ".bash", ".zsh"), (), "tree_sitter_bash:language"),
    # Without a grammar: cut at blank lines.
    Language("swift", Kind.CODE, (".swift",)),
    Language("objective-c", Kind.CODE, (".m", ".mm")),
    Language("dart", Kind.CODE, (".dart",)),
    Language("lua", Kind.CODE, (".lua",)),
    Language("perl", Kind.CODE, (".pl", ".pm")),
    Language("r", Kind.CODE, (".r",)),
    Language("julia", Kind.CODE, (".jl",)),
    Language("haskell", Kind.CODE, (".hs",)),
    Language("elixir", Kind.CODE, (".ex", ".exs")),
    Language("erlang", Kind.CODE, (".erl", ".hrl")),
    Language("clojure", Kind.CODE, (".clj", ".cljs", ".cljc")),
    Language("ocaml", Kind.CODE, (".ml", ".mli")),
    Language("zig", Kind.CODE, (".zig",)),
    Language("sql", Kind.CODE, (".sql",)),
    Language("protobuf", Kind.CODE, (".proto",)),
    Language("graphql", Kind.CODE, (".graphql", ".gql")),
    Language("vue", Kind.CODE, (".vue",)),
    Language("svelte", Kind.CODE, (".svelte",)),
    Language("html", Kind.CODE, (".html", ".htm")),
    Language("css", Kind.CODE, (".css", ".scss", ".less")),
    Language("terraform", Kind.CODE, (".tf", ".hcl")),
    Language("nix", Kind.CODE, (".nix",)),
    Language("cmake", Kind.CODE, (".cmake",), ("CMakeLists.txt",)),
    Language("make", Kind.CODE, (".mk",), ("Makefile", "makefile", "GNUmakefile")),
    Language("docker", Kind.CODE, (".dockerfile",), ("Dockerfile", "Containerfile")),
    Language("markdown", Kind.PROSE, (".md", ".markdown", ".mdx")),
    Language("restructuredtext", Kind.PROSE, (".rst",)),
    Language("asciidoc", Kind.PROSE, (".adoc", ".asciidoc")),
    Language(
        "text",
        Kind.PROSE,
        (".txt",),
        ("README", "CHANGELOG", "CHANGES", "AUTHORS", "CONTRIBUTING", "LICENSE", "NOTICE"),
    ),
    Language("yaml", Kind.CONFIG, (".yaml", ".yml")),
    Language("toml", Kind.CONFIG, (".toml",)),
    Language("json", Kind.CONFIG, (".json", ".jsonc", ".json5")),
    Language("ini", Kind.CONFIG, (".ini", ".cfg", ".conf", ".properties"), (".editorconfig",)),
    Language("jupyter", Kind.NOTEBOOK, (".ipynb",)),
)

BY_NAME = {language.name: language for language in LANGUAGES}
_BY_SUFFIX = {suffix: language for language in LANGUAGES for suffix in language.suffixes}
_BY_FILE_NAME = {name: language for language in LANGUAGES for name in language.file_names}


@lru_cache(maxsize=1024)  # asked several times of one file after another
def detect_language(path: str) -> Language | None:
    """Return the language of the file at `path` (POSIX, relative), or None if not known."""
    name = posixpath.basename(path)
    return _BY_FILE_NAME.get(name) or _BY_SUFFIX.get(posixpath.splitext(name)[1].lower())
