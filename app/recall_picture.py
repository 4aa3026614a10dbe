"""A picture of an evaluation: the share found among the first k results, against k.

Drawn without a window system and without matplotlib's global state, so that it works anywhere,
in any thread.
"""

import io
from collections.abc import Mapping

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from app.commands import count
from retrieval.evaluate import RANKS, Evaluation

SIZE_INCHES = (7.0, 4.5)
DOTS_PER_INCH = 150
# Told apart by colour-blind readers (Okabe & Ito, 2008), and by shape on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"
FAMILIES = {  # of metrics, in the order of preference → what the share is of
    "file_recall": "files with the answer, found",
    "line_hit": "questions with lines of the answer found",
    "answer_in_context": "questions with the answer in a passage found",
}


def draw_recall(evaluations: Mapping[str, Evaluation], form: str) -> bytes:
    """Draw one curve a configuration, by the first of `FAMILIES` that is measured.

    :param evaluations: name → evaluation of the same questions.
    :param form: `png` or `svg`.
    :return: the picture; the same for the same evaluations.
    """
    first = next(iter(evaluations.values()))
    family = next((name for name in FAMILIES if first.count(f"{name}@1")), "file_recall")
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, evaluation in enumerate(evaluations.values()):
        axes.plot(
            RANKS,
            [evaluation.mean(f"{family}@{k}") for k in RANKS],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            label=str(number),
        )
    axes.set_xticks(RANKS)
    axes.set_ylim(0, 1)
    axes.set_xlabel("files" if family == "file_recall" else "passages")
    axes.set_ylabel(FAMILIES[family])
    axes.set_title(count(first.count(f"{family}@1"), "question"))
    axes.grid(alpha=0.3)
    legend = axes.legend(loc="lower right")
    for text, name in zip(legend.get_texts(), evaluations, strict=True):
        text.set_parse_math(False)  # a folder's name is no formula, and may begin with `_`
        text.set_text(name)
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "codeqa"}):
        figure.savefig(stream, format=form, metadata={"Date": None} if form == "svg" else None)
    return stream.getvalue()
