"""A picture of what context is worth to a model, and what tuning is: one bar a context and model.

Drawn without a window system and without matplotlib's global state, so that it works anywhere,
in any thread.
"""

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_tools.errors import ConfigError

SIZE_INCHES = (7.0, 4.5)
DOTS_PER_INCH = 150
METRIC = "token_f1"
LABELS = {  # of contexts, in the order drawn
    "no_context": "no context",
    "gold_passage": "gold passage",
    "gold_with_distractors": "gold passage\nwith distractors",
    "retrieval": "real retrieval",
}
# Told apart by colour-blind readers (Okabe & Ito, 2008), and by how dark they are.
COLOURS = {"base": "#56B4E9", "tuned": "#0072B2"}
BAR_WIDTH = 0.38  # of the space of one context


def draw_contexts(described: dict[str, Any], form: str) -> bytes:
    """Draw token F1 in every context that was asked, with 95 % intervals.

    :param described: what `app.model_evaluation.describe` gives.
    :param form: `png` or `svg`.
    :return: the picture; the same for the same evaluation.
    :raises ConfigError: no pair was asked in any context.
    """
    rows = {row["part"]: row for row in described["rows"] if row["metric"] == METRIC}
    contexts = [context for context in LABELS if context in rows]
    if not contexts:
        raise ConfigError("there is nothing to draw: no held-out pair has an answer")
    models = ("base", "tuned") if described["base"] else ("tuned",)
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, model in enumerate(models):
        heights = [rows[context][model] or 0.0 for context in contexts]
        bounds = [
            rows[context][f"{model}_interval"] or (height, height)
            for context, height in zip(contexts, heights, strict=True)
        ]
        spread = zip(heights, bounds, strict=True)
        errors = [(max(height - low, 0), max(high - height, 0)) for height, (low, high) in spread]
        axes.bar(
            [at + (number - (len(models) - 1) / 2) * BAR_WIDTH for at in range(len(contexts))],
            heights,
            BAR_WIDTH,
            yerr=list(zip(*errors, strict=True)),
            capsize=3,
            color=COLOURS[model],
            label=model if described["base"] else "model",
        )
    counts = [f"{LABELS[context]}\n(n = {rows[context]['n']:,})" for context in contexts]
    axes.set_xticks(range(len(contexts)), counts)
    axes.set_ylim(0, 1)
    axes.set_ylabel("token F1 on held-out pairs, 95 % intervals")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left")
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "codeqa"}):
        figure.savefig(stream, format=form, metadata={"Date": None} if form == "svg" else None)
    return stream.getvalue()
