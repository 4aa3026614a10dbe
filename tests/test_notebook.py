"""The notebook runs from its first cell to its last, and what it shows is so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
FILE = ROOT / "notebooks" / "quickstart.ipynb"

pytestmark = pytest.mark.timeout(600)  # seconds; the first test that looks runs all cells


def stored() -> nbformat.NotebookNode:
    """The notebook as it is stored."""
    return nbformat.read(FILE, as_version=4)  # type: ignore[no-untyped-call, no-any-return]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What each cell shows, by its id: run in a fresh folder, with a home of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
            (folder / name).mkdir()
            patch.setenv(name, str(folder / name))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        notebook = stored()
        (folder / "here").mkdir()
        resources = {"metadata": {"path": str(folder / "here")}}
        NotebookClient(notebook, resources=resources).execute()
        yield {cell.id: _shown(cell) for cell in notebook.cells if cell.cell_type == "code"}
        assert not any((folder / "here").iterdir()), "something was written beside the notebook"


def _shown(cell: nbformat.NotebookNode) -> dict[str, str]:
    """The outputs of a cell: of a stream by its name, others by their type."""
    shown: dict[str, str] = {}
    for output in cell.outputs:
        if output.output_type == "stream":
            shown[output.name] = shown.get(output.name, "") + output.text
        else:
            shown |= output.data
    return shown


def test_it_is_stored_without_what_a_run_leaves_behind() -> None:
    notebook = stored()
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, cell.id
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[:4] == ["markdown", "code"] * 2, "prose goes before code"


def test_the_index_is_searched(outputs: dict[str, Any]) -> None:
    assert re.match(r"\d+ chunks; files by language: \{'python': \d+", shown(outputs, "build"))
    best, symbol, *_ = shown(outputs, "hits").splitlines()
    assert re.match(r"\d\.\d\d  rank\.py:\d+-\d+", best) and symbol.strip()


def test_both_models_are_asked_the_same_questions(outputs: dict[str, Any]) -> None:
    assert "60 questions; to be asked of" in shown(outputs, "questions")
    examples, steps = map(int, re.findall(r"\d+", shown(outputs, "train"))[:2])
    assert examples > 50 and steps >= 1
    figures = [
        [float(number) for number in re.findall(r"[+-]?\d\.\d{3}", line)]
        for line in shown(outputs, "interval").splitlines()
    ]
    assert len(figures) == 2
    for base, tuned, difference, low, high in figures:
        assert 0.4 < base < 1 and 0.4 < tuned < 1
        assert tuned - base == pytest.approx(difference, abs=0.0011)
        assert low <= difference <= high
    assert len(outputs["curves"]["image/png"]) > 10_000


def test_the_answer_cites_lines_of_the_repository(outputs: dict[str, Any]) -> None:
    labels = re.findall(r"^(\S+\.py)#L(\d+)", shown(outputs, "ask"), re.MULTILINE)
    assert labels and "rank.py" in {path for path, _ in labels}
    for path, line in labels:
        assert int(line) <= len((ROOT / "retrieval" / path).read_text("utf-8").splitlines())
    answer = outputs["ask"]["text/markdown"]
    assert re.search(r"\[\d+:L\d+-L\d+\]", answer)


def shown(outputs: dict[str, Any], cell: str) -> str:
    """What a cell prints."""
    return str(outputs[cell]["stdout"])
