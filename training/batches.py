"""The batches of a run: the same ones, however many processes share them, wherever a run goes on.

An epoch's order is drawn from the seed and the epoch's number alone. The last batch of an epoch
may be smaller; nothing is repeated to fill it. A process that finds nothing left in it takes part
with a row of which nothing is learnt, as the others wait for it.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from training.completions import IGNORED

if TYPE_CHECKING:
    import datasets


class SharedBatches(Sampler[list[int | None]]):
    """Deals the rows of each batch out to the processes.

    Each iteration is the rest of an epoch, from the step that the run is at.

    :param rows: how many there are.
    :param size: rows of a batch, over all processes.
    :param rank: of this process among `processes`.
    :param steps_taken: batches of the whole run that are learnt already.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        *,
        seed: int,
        rank: int,
        processes: int,
        steps_taken: Callable[[], int],
    ) -> None:
        self._rows = rows
        self._size = size
        self._seed = seed
        self._rank = rank
        self._processes = processes
        self._steps_taken = steps_taken

    def __len__(self) -> int:
        return math.ceil(self._rows / self._size)

    def __iter__(self) -> Iterator[list[int | None]]:
        epoch, first = divmod(self._steps_taken(), len(self))
        order = np.random.default_rng([self._seed, epoch]).permutation(self._rows)
        for step in range(first, len(self)):
            batch = order[step * self._size : (step + 1) * self._size]
            own = [int(row) for row in batch[self._rank :: self._processes]]
            yield [*own] if own else [None]


class Rows(Dataset[dict[str, Any]]):
    """Rows by number; None is a row of which nothing is learnt."""

    def __init__(self, dataset: "datasets.Dataset") -> None:
        self._dataset = dataset

    def __getitem__(self, number: int | None) -> dict[str, Any]:
        row: dict[str, Any] = self._dataset[number or 0]
        if number is None:
            return row | {"labels": [IGNORED] * len(row["labels"])}
        return row
