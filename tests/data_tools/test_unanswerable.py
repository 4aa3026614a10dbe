"""Questions about things that are not there."""

import random
import re

from data_tools.docstrings import Definition
from data_tools.unanswerable import ask_absent, squeeze

TYPES = ("CheckpointSaver", "RequestRouter", "TokenBucket")
FUNCTIONS = ("load_state", "save_model", "Box", "x_y")


def ask(text: str = "", seed: int = 0) -> list[str]:
    definitions = [
        Definition("a.py", "python", name, noun, 1, 2)
        for noun, names in (("class", TYPES), ("function", FUNCTIONS))
        for name in names
    ]
    names = " ".join(TYPES + FUNCTIONS)
    return list(ask_absent(definitions, [names, text], random.Random(seed)))


def test_names_are_put_together_from_those_that_are_there() -> None:
    asked = ask()
    words = {"checkpoint", "saver", "request", "router", "token", "bucket"}
    words |= {"load", "state", "save", "model"}
    assert len(asked) == len(set(asked)) == 8  # 3 × 2 types, 2 × 1 functions
    for question in asked:
        quoted = re.search(r"`(\w+)`|an? (\w+ \w+)", question)
        assert quoted
        name = quoted[1] or quoted[2]
        assert set(re.findall(r"[A-Z]?[a-z]+", name)) <= words | {word.title() for word in words}
        assert squeeze(name) not in squeeze(" ".join(TYPES + FUNCTIONS))


def test_what_occurs_in_any_spelling_is_not_asked_about() -> None:
    there = "The checkpoint-router, request_saver; token\nSaver tokenRouter checkpoint bucket."
    asked = squeeze(" ".join(ask(there)))
    assert "requestbucket" in asked
    for absent in ("checkpointrouter", "requestsaver", "tokensaver", "tokenrouter"):
        assert absent not in asked


def test_the_seed_decides() -> None:
    assert ask(seed=1) == ask(seed=1) != ask(seed=2)


def test_a_repository_without_such_names_gives_none() -> None:
    assert list(ask_absent([], ["text"], random.Random(0))) == []
