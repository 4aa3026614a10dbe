"""An index that is killed at any change of a file holds what it held before, or what it should.

Each run begins from the same folder, is killed at another call, is read as a user reads it, and
is then run again to its end.
"""

import shutil
from pathlib import Path

import pytest

from tests.torture.conftest import Cases, Tally
from tests.torture.faults import Faulty, choose_points
from tests.torture.index_steps import (
    CHANGES,
    finish,
    list_litter,
    prepare,
    read_state,
    write_index,
)


@pytest.mark.parametrize("name", CHANGES)
def test_an_index_that_is_killed_is_the_old_one_or_the_new_one(
    name: str, tmp_path: Path, faulty: Faulty, cases: Cases, tally: Tally
) -> None:
    change, before, folder = CHANGES[name], tmp_path / "before", tmp_path / "index"
    added = prepare(change, tmp_path, before)
    arguments = {"folder": str(folder), "add": added, "remove": list(change.remove)}

    shutil.copytree(before, folder)
    old = read_state(folder)
    calls = faulty.run(write_index, folder, **arguments).calls
    new = read_state(folder)
    assert new and new.everything and new != old

    found = {"old": 0, "words": 0, "new": 0}
    for point in choose_points(calls, cases(3, 130), ("kill", "tear")):
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        run = faulty.run(write_index, folder, point, **arguments)
        left = read_state(folder)
        if left == old:
            assert not run.told, f"{point}: it had said that it was written"
            found["old"] += 1
        else:
            assert left and left.is_or_becomes(new), point
            found["new" if left == new else "words"] += 1
        assert finish(change, folder, added) == new, point
        assert not list_litter(folder), point
    assert old is None or not found["words"]
    tally(f"kill -9: {name}", points=sum(found.values()), **found, mixed=0)
