"""What `import retrieval` offers, and what it must not cost."""

import subprocess
import sys
from pathlib import Path

import pytest

import retrieval
from data_tools.progress import Progress
from retrieval.index import CodeIndex
from retrieval.search import Hit

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "sentence_transformers", "langchain_core", "faiss", "tantivy")


def test_the_public_names_are_these() -> None:
    assert retrieval.__all__ == ["CodeIndex", "Hit", "Progress"]
    assert (retrieval.CodeIndex, retrieval.Hit) == (CodeIndex, Hit)
    assert retrieval.Progress is Progress
    with pytest.raises(AttributeError, match="no attribute 'Codeindex'"):
        _ = retrieval.Codeindex


def imported_by(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not imported_by("import retrieval") & {*HEAVY, "numpy", "pydantic", "sqlite3"}


def test_importing_the_index_imports_no_model_library() -> None:
    heavy = imported_by("from retrieval import CodeIndex, Hit, Progress") & set(HEAVY)
    assert heavy <= {"faiss", "tantivy"}
