"""The benchmark of number formats, on the chunks of a repository of seven files."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.number_formats import REFERENCE, Measured, main, measure, open_formats, print_table
from data_tools.chunk import chunk_file
from data_tools.sources import SourceFile, open_source
from retrieval.questions import Question


def test_every_format_has_a_row_beside_float32(
    tiny_repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [file for file in open_source(str(tiny_repo)).files() if isinstance(file, SourceFile)]
    chunks = [chunk for file in files for chunk in chunk_file(file)]
    questions = [
        Question("1", "How long until there are enough tokens?", files=("limits/bucket.py",)),
        Question("2", "Which function fetches a page again?", files=("web/client.ts",)),
    ]
    formats = {name: Measured(embedder) for name, embedder in open_formats().items()}
    measure(formats, chunks, rounds=2)
    print_table(formats, chunks, questions)
    rows = {
        cells[0]: [float(cell.rstrip("\\*")) for cell in cells[1:]]
        for line in capsys.readouterr().out.splitlines()[4:]
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert list(rows)[0] == REFERENCE and list(rows)[-1] == "int8"
    assert rows[REFERENCE][1:4] == [1.0, 1.0, 1.0]
    for name, (rate, ratio, mean, least, ndcg) in rows.items():
        assert rate > 0 and ratio > 0 and 0 < ndcg <= 1
        assert 0.9 < least <= mean <= 1.0001
        vectors, reference = formats[name].vectors, formats[REFERENCE].vectors
        assert vectors is not None and reference is not None
        same = np.array_equal(vectors, reference)
        assert same == (name == REFERENCE), "it is another format"


def test_without_the_repository_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/repository"]) == 1
    assert "nothing is measured: " in capsys.readouterr().err
