"""Where things are defined, derived from, called and raised: every place, or no answer."""

from pathlib import Path

import pytest

from tests.data_tools.qa_mining import answers, mine, read, told, write

FILES = {
    "shop/errors.py": """\
class ShopError(Exception):
    pass


class EmptyCartError(ShopError):
    pass
""",
    "shop/cart.py": """\
from shop.errors import EmptyCartError
from shop import prices


def checkout(cart, limit):
    if not cart:
        raise EmptyCartError("nothing in it")
    if limit < 0:
        raise ValueError(limit)
    return prices.total_of(cart)


class Cart:
    def pay(self):
        self._note_down()
        return checkout(self.items, 10)

    def _note_down(self):
        try:
            raise KeyError("caught below")
        except KeyError:
            pass
""",
    "shop/prices.py": """\
def total_of(cart):
    return sum(price_of(each) for each in cart)


def price_of(thing):
    return thing.price
""",
    "other/prices.py": """\
from elsewhere import checkout


def estimate(cart):
    return checkout(cart)


def show(cart, print_line):
    print_line(cart)


def again():
    def checkout_later():
        raise RuntimeError("inner")
""",
    "tests/test_cart.py": """\
from shop.cart import Cart, checkout
from shop.errors import ShopError


class TestingError(ShopError):
    pass


def test_checkout():
    checkout([], 1)
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "repo", FILES)


def test_definitions_are_told_with_every_place(tmp_path: Path) -> None:
    files = {
        "a.py": "def load():\n    pass\n\n\nclass Store:\n    pass\n",
        "b.py": "class load:\n    pass\n",
    }
    assert answers(mine(write(tmp_path / "repo", files), "definition").pairs) == {
        "Where is `load` defined?": "In 2 places: a function in `a.py` and a class in `b.py`.",
        "Where is `Store` defined?": "The class `Store` is defined in `a.py`.",
    }


def test_classes_are_told_with_their_bases_and_their_heirs(folder: Path) -> None:
    assert answers(mine(folder, "subclass").pairs) == {
        "Which class does `ShopError` inherit from?": "It inherits from `Exception`.",
        "Which class does `EmptyCartError` inherit from?": "It inherits from `ShopError`.",
        "Which classes inherit directly from `ShopError`?": "`EmptyCartError` in `shop/errors.py`. "
        "Test classes do, too.",
    }


def test_calls_are_told_where_imports_show_what_is_called(folder: Path) -> None:
    assert answers(mine(folder, "call").pairs) == {
        "What calls the function `checkout`?": "`pay` in `shop/cart.py`.",
        "What calls the function `price_of`?": "`total_of` in `shop/prices.py`.",
        "What calls the function `total_of`?": "`checkout` in `shop/cart.py`.",
        "Which methods call `Cart._note_down`?": "`pay` in `shop/cart.py`.",
        "Where are objects of the class `EmptyCartError` made?": "`checkout` in `shop/cart.py`.",
    }


def test_raises_are_told_with_their_condition_unless_they_are_caught_or_another_s(
    folder: Path,
) -> None:
    assert answers(mine(folder, "raise").pairs) == {
        "When does `checkout` raise `EmptyCartError`?": "It raises `EmptyCartError` if `not cart`.",
        "When does `checkout` raise `ValueError`?": "It raises `ValueError` if `limit < 0`.",
        "Which exceptions does `checkout` raise itself?": "It raises `EmptyCartError` and "
        "`ValueError`.",
        "Where is `EmptyCartError` raised?": "`checkout` in `shop/cart.py`.",
    }


def test_the_evidence_of_a_call_is_the_call_and_what_makes_it(folder: Path) -> None:
    (pair,) = (p for p in mine(folder, "call").pairs if "`checkout`?" in p.question)
    evidence = told(pair, read(folder))
    assert "def pay" in evidence and "checkout(self.items, 10)" in evidence


def test_a_condition_inside_another_is_not_told_as_the_whole(tmp_path: Path) -> None:
    text = "def f(a, b):\n    if a:\n        if b:\n            raise ValueError(b)\n"
    assert not mine(write(tmp_path / "repo", {"a.py": text}), "raise").pairs


def test_python_that_does_not_parse_gives_nothing(tmp_path: Path) -> None:
    files = {"old.py": "print 'two'\ndef f():\n    raise ValueError\n", "deep.py": "(" * 5_000}
    assert not mine(write(tmp_path / "repo", files), "raise", "call", "subclass").pairs
