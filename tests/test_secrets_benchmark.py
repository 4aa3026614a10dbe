"""The figures of secrets, by hand."""

import pytest

from benchmarks.planted_secrets import Planted
from benchmarks.secrets import judge


def test_found_missed_and_alarms_are_counted() -> None:
    planted = [Planted(kind, f"{kind}-secret-value", "a.py", kind) for kind in "aab"]
    decoys = [Planted("hash", "", "b.py", text) for text in ("b", "c", "d")]
    quality = judge(planted, decoys, lambda text, path: ["a-secret-value"] * (text in "ab"))
    assert (quality.planted, quality.found) == (3, 2)
    assert (quality.decoys, quality.alarms) == (3, 1)
    assert quality.recall == pytest.approx(2 / 3)
    assert quality.precision == pytest.approx(2 / 3)
    assert quality.missed == (("b", 1),)
