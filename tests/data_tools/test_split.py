"""Documents are dealt to splits by a seed, near-duplicates together."""

import random
from collections import Counter

import pytest

from data_tools.documents import TextDocument
from data_tools.split import SPLITS, assign_splits, check_shares
from tests.data_tools.corpora import make_text


def documents(count: int) -> list[TextDocument]:
    """Documents none of which is like another."""
    return [TextDocument("repo", f"file_{at}.py", make_text(at)) for at in range(1, count + 1)]


def test_every_document_is_in_one_split_and_the_shares_are_kept() -> None:
    deal = assign_splits(documents(400), {"train": 0.8, "validation": 0.1, "test": 0.1})
    counts = Counter(place.split for place in deal.values())
    assert len(deal) == 400
    assert counts["train"] == pytest.approx(320, abs=30)
    assert counts["validation"] == pytest.approx(40, abs=20)
    assert counts["test"] == pytest.approx(40, abs=20)


def test_the_same_documents_are_dealt_alike_in_any_order() -> None:
    files = [*documents(60), TextDocument("other", "copy.py", make_text(3))]
    shuffled = random.Random(0).sample(files, len(files))
    assert assign_splits(files) == assign_splits(shuffled)


def test_another_seed_deals_differently() -> None:
    assert assign_splits(documents(60), seed=1) != assign_splits(documents(60), seed=2)


def test_a_document_stays_in_its_split_when_others_come() -> None:
    before, after = assign_splits(documents(60)), assign_splits(documents(90))
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("seed", range(8))
def test_near_duplicates_are_always_in_one_split(seed: int) -> None:
    files = documents(40)
    for at in range(1, 21):  # a copy, and one with a line changed
        text = make_text(at)
        files.append(TextDocument("fork", f"{at}.py", text))
        files.append(TextDocument("fork", f"{at}_edited.py", text.replace("x + 0", "x - 1")))
    deal = assign_splits(files, {"train": 0.5, "validation": 0.25, "test": 0.25}, seed)
    for at in range(1, 21):
        keys = [("repo", f"file_{at}.py"), ("fork", f"{at}.py"), ("fork", f"{at}_edited.py")]
        assert len({deal[key] for key in keys}) == 1
        assert deal[keys[0]].group
    assert deal["repo", "file_30.py"].group is None
    assert {place.split for place in deal.values()} == set(SPLITS)


def test_texts_of_no_or_few_tokens_are_dealt_too() -> None:
    files = [TextDocument("repo", name, name[:at]) for at, name in enumerate(("a", "b", "c d e"))]
    assert len(assign_splits(files)) == 3


@pytest.mark.parametrize("seed", range(10))
def test_three_documents_are_enough_for_three_splits(seed: int) -> None:
    deal = assign_splits(documents(3), seed=seed)
    assert {place.split for place in deal.values()} == set(SPLITS)


def test_a_split_without_a_share_stays_empty() -> None:
    deal = assign_splits(documents(50), {"train": 0.9, "validation": 0.1, "test": 0.0})
    assert {place.split for place in deal.values()} == {"train", "validation"}


def test_thousands_of_copies_are_one_group_and_take_no_time() -> None:
    files = [TextDocument("repo", f"{at}/__init__.py", '"""Tests."""\n') for at in range(3000)]
    deal = assign_splits(files)
    assert len(set(deal.values())) == 1
    assert deal["repo", "7/__init__.py"].group


def test_empty_texts_go_to_training_and_change_nothing_for_others() -> None:
    files = documents(3)
    empty = [TextDocument("repo", f"{at}.py", "\n" * at) for at in range(20)]
    deal = assign_splits([*empty, *files])
    assert {deal["repo", f"{at}.py"].split for at in range(20)} == {"train"}
    assert {key: deal[key] for key in assign_splits(files)} == assign_splits(files)


@pytest.mark.parametrize(
    "shares",
    [
        {"train": 0.9, "validation": 0.2, "test": 0.2},
        {"train": 1.5, "validation": -0.5},
        {"train": 0.5, "dev": 0.5},
        {"validation": 0.5, "test": 0.5},
        {},
    ],
)
def test_shares_that_cannot_be_dealt_by_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="split|share"):
        check_shares(shares)


def test_two_documents_of_one_name_are_refused() -> None:
    twice = [TextDocument("repo", "a.py", "one"), TextDocument("repo", "a.py", "two")]
    with pytest.raises(ValueError, match=r"two documents are called a\.py of repo"):
        assign_splits(twice)
