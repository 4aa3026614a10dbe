"""What all tests share: a small repository, factories, and surroundings of their own."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from data_tools.chunk import Chunk
from data_tools.hosts import ALLOW_PRIVATE
from data_tools.text import count_lines
from tests.fakes import FakeEncoder, MakeChunk
from tests.git_repositories import Content, MakeRepo, make_repository

# The same cases in every run, and no clock: a busy machine is no fault of the code's.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")

TINY_FILES = {
    "README.md": """\
# Limits

Limits keeps a client of a web service from asking too often.

## Install

    pip install limits

## How it works

Each client has a token bucket. A request takes one token; the bucket refills at a steady
rate. When it is empty, the service answers with status 429 and says in the `Retry-After`
header how many seconds to wait.
""",
    "CHANGELOG.md": """\
# Changelog

## 1.1.0

- The service says in `Retry-After` how long to wait.

## 1.0.0

- Token buckets, one for each client.
""",
    "limits/bucket.py": '''\
"""The token bucket."""

import time


class TokenBucket:
    """Holds up to `capacity` tokens and gains `rate` of them a second."""

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity = capacity
        self.rate = rate
        self.tokens = capacity
        self.updated_at = time.monotonic()

    def take(self, amount: float = 1.0) -> bool:
        """Take tokens if there are enough of them."""
        self._refill()
        if self.tokens < amount:
            return False
        self.tokens -= amount
        return True

    def seconds_until(self, amount: float = 1.0) -> float:
        """Return how long it takes until `amount` tokens are there."""
        self._refill()
        return max(0.0, (amount - self.tokens) / self.rate)

    def _refill(self) -> None:
        now = time.monotonic()
        gained = (now - self.updated_at) * self.rate
        self.tokens = min(self.capacity, self.tokens + gained)
        self.updated_at = now
''',
    "limits/middleware.py": '''\
"""Refuses the requests of clients that ask too often."""

import math

from limits.bucket import TokenBucket

TOO_MANY_REQUESTS = 429


class RateLimitMiddleware:
    """Wraps a service; keeps a token bucket for each client's address."""

    def __init__(self, service, capacity=10, rate=2):
        self.service = service
        self.capacity = capacity
        self.rate = rate
        self.buckets = {}

    def handle(self, request):
        """Pass the request on, or answer 429 with a `Retry-After` header."""
        bucket = self.buckets.setdefault(
            request.address, TokenBucket(self.capacity, self.rate)
        )
        if bucket.take():
            return self.service.handle(request)
        seconds = math.ceil(bucket.seconds_until())
        return TOO_MANY_REQUESTS, {"Retry-After": str(seconds)}
''',
    "web/client.ts": """\
export interface RetryOptions {
  attempts: number;
}

/** Fetch a page; wait and try again when the service says that we ask too often. */
export async function fetchWithRetry(url: string, options: RetryOptions): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url);
    if (response.status !== 429 || attempt === options.attempts) {
      return response;
    }
    const seconds = Number(response.headers.get("Retry-After") ?? 1);
    await new Promise((done) => setTimeout(done, seconds * 1000));
  }
}
""",
    "config/limits.yaml": """\
# Tokens a second, and how many a client may save up.
default:
  rate: 2
  capacity: 10
search:
  rate: 0.5
  capacity: 3
""",
    "tests/test_bucket.py": """\
from limits.bucket import TokenBucket


def test_an_empty_bucket_refuses():
    bucket = TokenBucket(capacity=1, rate=0.001)
    assert bucket.take()
    assert not bucket.take()
""",
}


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test from the user's caches, conversations, git configuration and credentials."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("CODEQA_CACHE", str(folder / "codeqa"))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        for name in [name for name in os.environ if name.startswith("GIT_CONFIG_COUNT")]:
            patch.delenv(name)
        for name in (
            *("GIT_TOKEN", "GIT_ASKPASS", "SSH_ASKPASS", "CODEQA_INDEX", "CODEQA_DATASETS"),
            *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "CUSTOM_LORA_ADAPTERS_DIR"),
        ):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own: no clone is found that another one made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))
    monkeypatch.setenv("CODEQA_CACHE", str(tmp_path / "codeqa-cache"))


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow each test what the product allows by default, whatever one before it allowed."""
    monkeypatch.setenv(ALLOW_PRIVATE, "")


@pytest.fixture
def private_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow servers of this machine, such as a test starts."""
    monkeypatch.setenv(ALLOW_PRIVATE, "1")


@pytest.fixture
def make_repo(tmp_path: Path) -> MakeRepo:
    """Factory of git repositories of one commit."""

    def make(files: Mapping[str, Content], name: str = "repo") -> Path:
        return make_repository(tmp_path / name, files)

    return make


@pytest.fixture
def tiny_repo(make_repo: MakeRepo) -> Path:
    """A git repository about rate limiting: Python, TypeScript, YAML, Markdown and a test."""
    return make_repo(TINY_FILES, "limits")


@pytest.fixture
def make_chunk() -> MakeChunk:
    """Factory of chunks."""

    def make(
        text: str = "def take(self) -> bool:\n    return self.tokens > 0\n",
        *,
        repo: str = "limits",
        commit: str = "c" * 40,
        path: str = "src/bucket.py",
        start_line: int = 1,
        end_line: int | None = None,
        language: str = "python",
        symbol: str = "",
    ) -> Chunk:
        end = start_line + max(count_lines(text), 1) - 1 if end_line is None else end_line
        return Chunk(repo, commit, path, start_line, end, language, symbol, text)

    return make


@pytest.fixture
def fake_encoder() -> FakeEncoder:
    """An embedder that needs no model."""
    return FakeEncoder()
