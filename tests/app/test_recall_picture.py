"""The picture of recall: what is drawn, the same for the same figures."""

import html
import io
import re

import pytest
from PIL import Image

from app.recall_picture import draw_recall
from data_tools.chunk import Chunk
from retrieval import Hit
from retrieval.evaluate import Evaluation, evaluate
from retrieval.questions import Question
from tests.fakes import MakeChunk


def evaluation_of(question: Question, chunks: list[Chunk]) -> Evaluation:
    """An evaluation of one question, for which the same chunks are always found."""
    return evaluate([question], lambda text, k: [Hit(1.0, chunk, None) for chunk in chunks[:k]])


def names_in(svg: bytes) -> set[str]:
    """The words of an SVG: matplotlib writes each beside the outlines of its letters."""
    return {match.strip() for match in re.findall("<!-- (.*?) -->", svg.decode())}


def test_each_configuration_has_a_curve_and_the_family_measured_names_the_axis(
    make_chunk: MakeChunk,
) -> None:
    by_file = Question("1", "where?", files=("b.py",))
    chunks = [make_chunk(path="a.py"), make_chunk(path="b.py")]
    forward, backward = (evaluation_of(by_file, order) for order in (chunks, chunks[::-1]))
    drawn = names_in(draw_recall({"one": forward, "other": backward}, "svg"))
    assert {"one", "other", "files", "files with the answer, found", "1 question"} <= drawn
    by_answer = evaluation_of(Question("1", "which?", answer="take"), chunks)
    assert "questions with the answer in a passage found" in names_in(
        draw_recall({"one": by_answer}, "svg")
    )


def test_the_same_evaluation_gives_the_same_bytes(make_chunk: MakeChunk) -> None:
    one = evaluation_of(Question("1", "where?", files=("src/bucket.py",)), [make_chunk()])
    for form in ("svg", "png"):
        assert draw_recall({"one": one}, form) == draw_recall({"one": one}, form)
    none = evaluation_of(Question("1", "where?", files=("b.py",)), [make_chunk()])
    assert draw_recall({"one": none}, "svg") != draw_recall({"one": one}, "svg")


def test_a_png_can_be_read_and_is_large_enough(make_chunk: MakeChunk) -> None:
    one = evaluation_of(Question("1", "where?", files=("src/bucket.py",)), [make_chunk()])
    with Image.open(io.BytesIO(draw_recall({"one": one}, "png"))) as picture:
        assert picture.format == "PNG" and picture.width >= 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 20) or []) > 10


@pytest.mark.parametrize("name", ["_hidden", "$x^$", "a$b", "größe", "<&>"])
def test_any_name_is_drawn_as_it_is(name: str, make_chunk: MakeChunk) -> None:
    one = evaluation_of(Question("1", "where?", files=("src/bucket.py",)), [make_chunk()])
    shown = names_in(draw_recall({name: one}, "svg"))
    assert html.escape(name, quote=False) in shown
