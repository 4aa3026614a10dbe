"""robots.txt: what a site asks programs not to read, and how long to wait between pages.

The rules of RFC 9309: the group that names us, else the one for everybody; of its rules the
longest that matches decides; `*` stands for anything and `$` for the end.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

MAX_RULES = 2_000  # of one group; more are no one's handwriting
_SAFE = "/*$?&=:@!'()+,;~-._"


@dataclass(frozen=True)
class Robots:
    """What one robots.txt says to us.

    :param rules: (allowed, pattern of paths) in the order of the file.
    :param delay_s: between two pages, as asked for; 0 where it is not.
    :param sitemaps: addresses, as they are written there.
    """

    rules: tuple[tuple[bool, str], ...] = ()
    delay_s: float = 0.0
    sitemaps: tuple[str, ...] = ()

    def allows(self, url: str) -> bool:
        """Tell whether an address may be read."""
        path = _normal(urlsplit(url).path or "/")
        matching = [
            (len(pattern), allowed) for allowed, pattern in self.rules if _matches(pattern, path)
        ]
        return max(matching, default=(0, True))[1]  # of two as long, the one that allows


def read_robots(text: str, robot: str) -> Robots:
    """Read a robots.txt.

    :param robot: what we are called in it, in lower case.
    """
    named: dict[str, list[tuple[str, str]]] = {}
    sitemaps: list[str] = []
    agents: list[str] = []
    in_rules = False
    for key, value in _fields(text.splitlines()):
        if key == "sitemap":
            sitemaps.append(value)
        elif key == "user-agent":
            if in_rules:  # the group before has ended
                agents, in_rules = [], False
            agents.append(value.lower())
            named.setdefault(value.lower(), [])
        elif key in ("allow", "disallow", "crawl-delay"):
            in_rules = True
            for agent in dict.fromkeys(agents):
                named[agent].append((key, value))
    lines = named.get(robot, named.get("*", []))[:MAX_RULES]
    rules = tuple(
        (key == "allow", _normal(value)) for key, value in lines if key != "crawl-delay" and value
    )
    delays = [_seconds(value) for key, value in lines if key == "crawl-delay"]
    return Robots(rules, max(delays, default=0.0), tuple(sitemaps))


def _fields(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        key, colon, value = line.lstrip("\ufeff").partition("#")[0].partition(":")
        if colon:
            yield key.strip().lower(), value.strip()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if 0 < seconds < math.inf else 0.0


def _normal(path: str) -> str:
    """Write escapes alike, so that `%7E` matches `~`."""
    return quote(unquote(path), safe=_SAFE)


def _matches(pattern: str, path: str) -> bool:
    """Match from the start of the path, part by part: no pattern can take long."""
    anchored = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    position = len(first)
    for part in rest[:-1] if anchored else rest:
        found = path.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    if not anchored:
        return True
    if not rest:
        return position == len(path)
    return path.endswith(rest[-1]) and len(path) - len(rest[-1]) >= position
