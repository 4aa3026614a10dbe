"""What robots.txt allows, after RFC 9309."""

import time

import pytest

from data_tools.docs_robots import read_robots

ROBOTS = """\
\ufeffUser-agent: othercrawler
Disallow: /

User-Agent: *
Disallow: /private/   # not for programs
Allow: /private/open
Disallow: /*/draft
Disallow: /*.php$
Disallow: /tilde/%7Eada
Crawl-delay: 2.5

Sitemap: https://docs.example/sitemap.xml
User-agent: nobody
user-agent: codeqa-beta
Disallow: /beta
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", True),
        ("/private", True),
        ("/private/x", False),
        ("/private/open/x", True),
        ("/a/draft/x", False),
        ("/draft", True),
        ("/a/index.php", False),
        ("/a/index.php5", True),
        ("/tilde/~ada/x", False),
        ("/beta", True),
    ],
)
def test_the_longest_rule_that_matches_decides(path: str, allowed: bool) -> None:
    assert read_robots(ROBOTS, "codeqa").allows(f"https://docs.example{path}") is allowed


def test_the_group_that_names_us_counts_alone() -> None:
    robots = read_robots(ROBOTS, "codeqa-beta")
    assert not robots.allows("https://docs.example/beta/x")
    assert robots.allows("https://docs.example/private/x")
    assert not read_robots(ROBOTS, "othercrawler").allows("https://docs.example/")


def test_the_delay_and_the_sitemaps_are_read() -> None:
    robots = read_robots(ROBOTS, "codeqa")
    assert robots.delay_s == 2.5
    assert robots.sitemaps == ("https://docs.example/sitemap.xml",)


@pytest.mark.parametrize("text", ["", "<html>no robots</html>", "Disallow: /", "Crawl-delay: x"])
def test_what_says_nothing_allows_everything(text: str) -> None:
    robots = read_robots(text, "codeqa")
    assert robots.allows("https://docs.example/a")
    assert robots.delay_s == 0


def test_a_pattern_made_to_be_slow_is_not() -> None:
    robots = read_robots(f"User-agent: *\nDisallow: /{'*a' * 200}$", "codeqa")
    started = time.monotonic()
    assert robots.allows("https://docs.example/" + "a" * 1_900 + "b")
    assert time.monotonic() - started < 1
