"""Who may be called champion: a model that answers held-out questions no worse than its base.

The evaluation is the file that `codeqa eval model MODEL --base BASE --pairs DIR --out FILE` writes.
One of another model, or without held-out pairs, settles nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from data_tools.errors import ModelError, WorseModelError
from training.hashes import model_hash, weight_files

CHAMPION = "champion"
PART, METRIC = "pairs", "token_f1"


class _Row(BaseModel):
    part: str
    metric: str
    n: int
    base: float | None
    tuned: float | None


class _Evaluation(BaseModel):
    model: str
    base: str | None
    rows: list[_Row]
    weights_sha256: str | None = None


@dataclass(frozen=True)
class Verdict:
    """How a model and its base answer held-out pairs.

    :param n: pairs asked.
    :param base: mean token F1, in [0, 1]; `tuned` likewise.
    """

    n: int
    base: float
    tuned: float


def judge(evaluation: Path | None, model: Path, also_known_as: Collection[Path] = ()) -> Verdict:
    """Read an evaluation, and refuse a model that does worse than its base.

    :param model: the folder that is to be champion.
    :param also_known_as: other folders of the same model: the run and the adapter it was made of.
    :raises ModelError: there is no evaluation, or it says nothing of this model.
    :raises WorseModelError: the model answers held-out pairs worse than its base.
    """
    command = f"codeqa eval model {model} --base BASE --pairs DIR --out FILE.json"
    if evaluation is None:
        raise ModelError(
            f"the alias `{CHAMPION}` needs an evaluation on held-out pairs: run `{command}`, and "
            "give its file as --evaluation"
        )
    try:
        found = _Evaluation.model_validate_json(evaluation.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {evaluation} ({error.strerror}); run `{command}`") from error
    except ValidationError as error:
        raise ModelError(f"{evaluation} is no evaluation of a model; run `{command}`") from error
    if not _is_of(found, [model, *also_known_as]):
        raise ModelError(
            f"{evaluation} is an evaluation of {found.model}, or of other weights than are there "
            f"now; run `{command}`"
        )
    for row in found.rows:
        if (row.part, row.metric) == (PART, METRIC) and None not in (row.base, row.tuned):
            verdict = Verdict(row.n, row.base or 0.0, row.tuned or 0.0)
            break
    else:
        raise ModelError(
            f"{evaluation} compares no {METRIC} on held-out pairs with a base; run `{command}`"
        )
    if verdict.tuned < verdict.base:
        raise WorseModelError(
            f"{model} answers held-out pairs worse than {found.base}: token F1 is "
            f"{verdict.tuned:.3f} and was {verdict.base:.3f} ({verdict.n:,} pairs), so it does not "
            f"become `{CHAMPION}`; train on more, or give --force"
        )
    return verdict


def _is_of(evaluation: _Evaluation, folders: Collection[Path]) -> bool:
    """Whether an evaluation is of one of these: of its weights, or by its name if it was served."""
    if evaluation.weights_sha256:
        known = [model_hash(folder) for folder in folders if weight_files(folder)]
        return evaluation.weights_sha256 in known
    evaluated = Path(evaluation.model.rpartition(" + ")[2]).expanduser().resolve()
    return evaluated in {folder.expanduser().resolve() for folder in folders}
