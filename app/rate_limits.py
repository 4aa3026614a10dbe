"""How often one person may ask, search, add repositories and try to log in.

Far more than anybody does by hand: the limits are there for programs that run wild, and for those
who guess. A person is a browser that was let in, or an address. The counts are kept in memory, by
`limits`, for two windows of time, so that the memory does not grow with the number of addresses.
"""

import math
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal, get_args

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from data_tools.errors import BusyError

Kind = Literal["questions", "searches", "repositories", "logins"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEFAULTS: Mapping[Kind, str] = {
    "questions": "120/minute",  # OpenAI's clients, and a page or two
    "searches": "1200/minute",  # and reading of files, as fast as somebody can scroll
    "repositories": "60/minute",
    "logins": "10/minute",
}
NO_LIMIT = "none"
_ASKED: Mapping[tuple[str, str], Kind] = {
    ("POST", "/v1/chat/completions"): "questions",
    ("POST", "/page/ask"): "questions",
    ("POST", "/page/retry"): "questions",
    ("GET", "/api/search"): "searches",
    ("POST", "/api/search"): "searches",
    ("GET", "/page/conversations"): "searches",
    ("GET", "/page/file"): "searches",
    ("GET", "/page/link"): "searches",
    ("POST", "/mcp"): "searches",
}


def read_limits(words: Sequence[str]) -> dict[Kind, RateLimitItem | None]:
    """Read what `--rate-limit` says, such as `questions=30/minute`; the rest stays as it is.

    :param words: `none` alone lifts all but that of logins, which only guessers meet.
    :return: None where there is no limit.
    :raises ValueError: one of them says nothing of the kind.
    """
    chosen: dict[Kind, str] = dict(DEFAULTS)
    for word in words:
        name, _, rate = word.partition("=")
        if word == NO_LIMIT:
            chosen |= {kind: NO_LIMIT for kind in KINDS if kind != "logins"}
        elif (kind := next((kind for kind in KINDS if kind == name), None)) is not None:
            chosen[kind] = rate
        else:
            raise ValueError(f"one of {', '.join(KINDS)} is limited, not {name[:50]!r}")
    return {kind: None if rate == NO_LIMIT else _parse(rate) for kind, rate in chosen.items()}


def _parse(rate: str) -> RateLimitItem:
    try:
        item = parse(rate)
    except ValueError:
        raise ValueError(f"{rate[:50]!r} is no rate: say it as in 60/minute, or none") from None
    if not (item.amount and item.get_expiry()):
        raise ValueError(f"{rate[:50]!r} lets nothing through: say none to lift a limit")
    return item


def kind_of(method: str, path: str) -> Kind | None:
    """Tell what a request counts as; None for what is not counted."""
    return _ASKED.get((method, path))


class RateLimits:
    """Counts what people do; safe from several threads."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        """Begin to count.

        :param words: as `read_limits` takes them.
        :raises ValueError: as `read_limits` does.
        """
        self._items = read_limits(words)
        self._counts = SlidingWindowCounterRateLimiter(MemoryStorage())

    def check(self, kind: Kind, person: str, *, count: bool = True) -> None:
        """Count one more, unless that is too many.

        :param person: who does it.
        :param count: False only looks.
        :raises BusyError: it is; it says when there will be room.
        """
        item = self._items[kind]
        if item is None:
            return
        look = self._counts.hit if count else self._counts.test
        if not look(item, kind, person):
            wait_s = self._counts.get_window_stats(item, kind, person).reset_time - time.time()
            seconds = max(1, math.ceil(wait_s))
            raise BusyError(
                f"that is more than {item.amount} {kind} per {_window(item)}: try again in "
                f"{seconds} s",
                retry_after_s=seconds,
            )


def _window(item: RateLimitItem) -> str:
    name = item.GRANULARITY.name
    return name if item.multiples == 1 else f"{item.multiples} {name}s"


@lru_cache(4_096)
def _network(host: str) -> str:
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return host


def person_at(client: "tuple[str, int] | None") -> str:
    """Name whoever asks from an address; one of IPv6 has a whole network of them.

    :param client: address and port, as a server tells them.
    """
    try:
        return _network(client[0]) if client else ""
    except ValueError:  # a test client's, or a socket's that is a file
        return client[0] if client else ""
