"""A small code base with several topics, for tests of questions that have several parts."""

from collections.abc import Sequence
from pathlib import Path

from app.answer import Answer, Event
from retrieval.index import CodeIndex

FILES = {
    "bucket.py": '''"""A rate limiter."""


class TokenBucket:
    """Limits how often something happens, by tokens that refill over time."""

    def take(self, tokens: int) -> bool:
        """Take tokens from the bucket, or return False if too few are left."""
        return self._take(tokens)
''',
    "window.py": '''"""Another rate limiter."""


class SlidingWindow:
    """Limits how often something happens, by counting the requests of the last minute."""

    def admit(self, request: str) -> bool:
        """Admit a request unless the window is full."""
        return len(self.recent) < self.most
''',
    "store.py": '''"""Where counters are kept."""


class RedisStore:
    """Keeps counters in a Redis server, so that several processes share them."""

    def increment(self, key: str) -> int:
        """Add one to the counter of a client."""
        return self.client.incr(key)
''',
    "guide.md": """# Limits

## Configuring the refill rate

Set `refill_rate` in `limits.toml`, in tokens a second.

## Sharing counters between processes

Give a `RedisStore` with the address of the Redis server.

## Exporting metrics to Prometheus

Call `export_metrics` once; the counters of refused requests are then at `/metrics`.
""",
}


def build_library(folder: Path, index: Path) -> CodeIndex:
    """Write the code base to a folder, and index it."""
    folder.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return CodeIndex.build([str(folder)], index)


def answers_of(events: Sequence[Event]) -> list[Answer]:
    """The whole answers among events."""
    return [event for event in events if isinstance(event, Answer)]
