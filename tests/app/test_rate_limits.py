"""How often one person may do something."""

import pytest

from app.rate_limits import DEFAULTS, KINDS, RateLimits, kind_of, person_at, read_limits
from data_tools.errors import BusyError


def count_until_refused(rates: RateLimits, person: str, most: int = 100) -> int:
    """How many questions somebody may ask at once."""
    for asked in range(most):
        try:
            rates.check("questions", person)
        except BusyError:
            return asked
    return most


def test_one_person_s_questions_are_not_another_s() -> None:
    rates = RateLimits(["questions=5/hour"])
    assert count_until_refused(rates, "ada") == 5
    assert count_until_refused(rates, "ada") == 0
    assert count_until_refused(rates, "grace") == 5
    rates.check("searches", "ada")


def test_a_refusal_says_how_many_and_when_there_is_room() -> None:
    rates = RateLimits(["questions=2/hour"])
    count_until_refused(rates, "ada")
    with pytest.raises(BusyError, match=r"more than 2 questions per hour: try again in \d+ s"):
        rates.check("questions", "ada")
    with pytest.raises(BusyError) as caught:
        rates.check("questions", "ada", count=False)
    assert 1 <= caught.value.retry_after_s <= 2 * 3600


def test_looking_does_not_count() -> None:
    rates = RateLimits(["questions=3/hour"])
    for _ in range(10):
        rates.check("questions", "ada", count=False)
    assert count_until_refused(rates, "ada") == 3


def test_none_lifts_all_limits_but_that_of_logins() -> None:
    items = read_limits(["none"])
    assert [kind for kind in KINDS if items[kind]] == ["logins"]
    assert count_until_refused(RateLimits(["none"]), "ada") == 100
    assert read_limits(["logins=none"])["logins"] is None


@pytest.mark.parametrize(
    "word",
    ["", "60/minute", "questions", "questions=", "questions=many", "questions=0/minute"]
    + ["votes=1/minute", "questions=-1/minute", "questions=1/fortnight", "QUESTIONS=1/minute"],
)
def test_what_says_no_limit_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"is limited, not|is no rate|lets nothing through"):
        read_limits([word])


def test_every_kind_has_a_limit_from_the_start() -> None:
    assert set(DEFAULTS) == set(KINDS)
    assert all(read_limits(()).values())


def test_what_costs_much_is_counted_and_the_rest_is_not() -> None:
    assert kind_of("POST", "/v1/chat/completions") == "questions"
    assert kind_of("GET", "/api/search") == "searches"
    assert kind_of("GET", "/page/start") is None


@pytest.mark.parametrize(
    ("address", "person"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_network_of_ipv6_is_one_person(address: str, person: str) -> None:
    assert person_at((address, 1234)) == person
    assert person_at(None) == ""
