"""Fetching pages from one web server, which may mean harm.

One server is spoken to, the one that the user named, if `data_tools.hosts` allows it: its address
is looked up once and kept. Sizes, times and redirects are bounded, compressed bodies while they
are decompressed. No credentials, cookies or proxies are used, and there is one connection, which
asks for one page at a time.
"""

import contextlib
import functools
import math
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from types import TracebackType
from typing import Any, Self

import certifi
import httpcore

from data_tools.errors import SourceError
from data_tools.hosts import UnknownHostError, check_scheme, find_addresses, is_public
from data_tools.web_address import Origin, canonical_url, origin_of

ROBOT_NAME = "codeqa"  # what robots.txt calls us
USER_AGENT = f"{ROBOT_NAME}/0.1 (reads documentation on behalf of a person)"
HTML_TYPES = ("text/html", "application/xhtml+xml")
MAX_PAGE_BYTES = 5_000_000  # decompressed; the longest pages that people write are a tenth of it
MAX_PAGE_S = 20.0  # from asking to the last byte, redirects included
MAX_REDIRECTS = 5
CONNECT_S = 8.0
_REDIRECTS = (301, 302, 303, 307, 308)
_GZIP = zlib.MAX_WBITS | 16  # as zlib is told to expect gzip's header


class NotFetchedError(Exception):
    """A page cannot, or must not, be fetched; the message is the reason.

    :ivar status: what the server answered, if that is the reason.
    :ivar later: another try may help: the server is busy, slow, or not there.
    :ivar retry_after_s: how long the server asks to wait before that.
    :ivar leads_to: the address on another server that it redirects to.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        later: bool = False,
        retry_after_s: float | None = None,
        leads_to: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.later = later
        self.retry_after_s = retry_after_s
        self.leads_to = leads_to

    @property
    def gone(self) -> bool:
        """Whether the server says that there is no such page."""
        return self.status in (404, 410)


@dataclass(frozen=True)
class Fetched:
    """What a server answered.

    :param url: where it stands in the end, after redirects.
    :param changed: False where the server says that what we have is still right; then `body` is
        empty.
    :param conditions: headers to send the next time, so that it can say so.
    """

    url: str
    content_type: str
    charset: str | None
    body: bytes
    changed: bool = True
    conditions: dict[str, str] = field(default_factory=dict)


class Fetcher:
    """Fetches pages of the server that `url` names; use it as a context manager.

    :raises NotFetchedError: there is no such server, or its address must not be connected to.
    """

    def __init__(
        self, url: str, *, max_bytes: int = MAX_PAGE_BYTES, max_seconds: float = MAX_PAGE_S
    ) -> None:
        self.origin = origin_of(url)
        self.received_bytes = 0
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        try:
            self._network = _PinnedNetwork(find_addresses(self.origin.host, self.origin.port))
            check_scheme(self.origin.scheme, self.origin.host)
        except SourceError as error:
            later = isinstance(error, UnknownHostError)
            raise NotFetchedError(str(error), later=later) from error
        self._pool = httpcore.ConnectionPool(
            ssl_context=_trusted_roots(),
            max_connections=1,
            keepalive_expiry=30.0,
            network_backend=self._network,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.close()

    def fetch(
        self,
        url: str,
        *,
        types: tuple[str, ...] = HTML_TYPES,
        query: str = "",
        conditions: Mapping[str, str] | None = None,
    ) -> Fetched:
        """Fetch one page, following redirects within its server.

        :param url: as `canonical_url` returns it.
        :param types: content types to accept; none accepts all.
        :param query: the query string, as git's protocol needs one.
        :param conditions: as an earlier answer gave them.
        :raises NotFetchedError: it is of another type or too large or too slow, redirects
            elsewhere, or the server answers with an error or not at all.
        """
        self._network.deadline = time.monotonic() + self._max_seconds
        for _ in range(MAX_REDIRECTS + 1):
            self._refuse_other_servers(url)
            asked = f"{url}?{query}" if query else url
            headers = _request_headers(self.origin, conditions or {})
            try:
                with self._pool.stream("GET", asked, headers=headers) as response:
                    answer = Message()
                    for name, value in response.headers:
                        answer[name.decode("latin-1")] = value.decode("latin-1")
                    if response.status not in _REDIRECTS:
                        return self._take(url, response, answer, types)
            except httpcore.TimeoutException as error:
                raise NotFetchedError(
                    f"took longer than {self._max_seconds:g} seconds", later=True
                ) from error
            except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
                raise NotFetchedError(f"no answer ({_one_line(error)})", later=True) from error
            location = canonical_url(answer.get("Location", ""), url)
            if location is None:
                raise NotFetchedError("redirects to what is no web address")
            url = location
        raise NotFetchedError(f"redirects more than {MAX_REDIRECTS} times")

    def _refuse_other_servers(self, url: str) -> None:
        origin = origin_of(url)
        if self.origin.leads_to(origin):
            return
        kind = "another host" if origin.host != self.origin.host else "another port"
        with contextlib.suppress(ValueError):
            if not is_public(origin.host):
                kind = "a private address"
        raise NotFetchedError(f"redirects to {kind} ({url})", leads_to=url)

    def _take(
        self, url: str, response: httpcore.Response, answer: Message, types: tuple[str, ...]
    ) -> Fetched:
        kept = {"If-None-Match": answer.get("ETag"), "If-Modified-Since": answer["Last-Modified"]}
        conditions = {name: value for name, value in kept.items() if value}
        if response.status == 304:
            return Fetched(url, "", None, b"", changed=False, conditions=conditions)
        if response.status != 200:
            raise _refusal(response.status, answer)
        content_type = answer.get_content_type() if "Content-Type" in answer else ""
        if types and content_type not in types:
            raise NotFetchedError(f"not HTML ({content_type or 'of no type'})")
        length = answer.get("Content-Length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(f"{int(length):,} bytes")
        encoding = answer.get("Content-Encoding", "identity").strip().lower()
        body = b"".join(self._decompress(response.iter_stream(), encoding))
        charset = answer.get_content_charset()
        return Fetched(url, content_type, charset, body, conditions=conditions)

    def _decompress(self, parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
        """Yield a body's bytes while they stay below the limit, before and after decompression."""
        if encoding not in ("identity", "", "gzip", "x-gzip"):
            raise NotFetchedError(f"compressed in a way that was not asked for ({encoding})")
        unpack = zlib.decompressobj(_GZIP) if "gzip" in encoding else None
        received = unpacked = 0
        for part in parts:
            received += len(part)
            self.received_bytes += len(part)
            try:
                text = unpack.decompress(part, self._max_bytes - unpacked + 1) if unpack else part
            except zlib.error as error:
                raise NotFetchedError("its compressed content is damaged") from error
            unpacked += len(text)
            if max(received, unpacked) > self._max_bytes:
                raise self._too_large("more")
            yield text

    def _too_large(self, size: str) -> NotFetchedError:
        return NotFetchedError(f"oversized ({size}, limit {self._max_bytes:,} bytes)")


def _request_headers(origin: Origin, conditions: Mapping[str, str]) -> list[tuple[str, str]]:
    host = str(origin).partition("://")[2]
    fixed = {
        "Host": host,
        "User-Agent": USER_AGENT,
        "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1",
        "Accept-Encoding": "gzip",
    }
    return [*fixed.items(), *conditions.items()]


def _refusal(status: int, answer: Message) -> NotFetchedError:
    if status in (401, 403, 407):
        reason = f"needs a login, or is closed to programs (status {status})"
        return NotFetchedError(reason, status=status)
    asked = answer.get("Retry-After", "").strip()
    return NotFetchedError(
        f"status {status}",
        status=status,
        later=status == 429 or status >= 500,
        retry_after_s=float(asked) if asked.isdecimal() else None,
    )


@functools.cache
def _trusted_roots() -> ssl.SSLContext:
    """Trust what the machine trusts (`SSL_CERT_FILE` too), and Mozilla's list beside it."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _PinnedNetwork(httpcore.NetworkBackend):
    """Connects to addresses found before, and lets nothing go on beyond the deadline."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.deadline = math.inf  # of `time.monotonic`
        self._addresses = addresses
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; `host` is not looked up again."""
        for address in self._addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port, socket_options)
        return self._connect(self._addresses[-1], port, socket_options)

    def _connect(
        self, address: str, port: int, options: Iterable[httpcore.SOCKET_OPTION] | None
    ) -> httpcore.NetworkStream:
        timeout = min(CONNECT_S, self.seconds_left(httpcore.ConnectTimeout))
        stream = self._backend.connect_tcp(address, port, timeout, None, options)
        return _TimedStream(stream, self)

    def seconds_left(self, error: type[httpcore.TimeoutException]) -> float:
        """Return the time until the deadline; raise `error` if there is none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise error("out of time")
        return left


class _TimedStream(httpcore.NetworkStream):
    """A connection on which each step has what is left of the time for the page."""

    def __init__(self, stream: httpcore.NetworkStream, network: _PinnedNetwork) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive some bytes."""
        return self._stream.read(max_bytes, self._network.seconds_left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        self._stream.write(buffer, self._network.seconds_left(httpcore.WriteTimeout))

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Encrypt what follows; the certificate must be the host's, not the address's."""
        left = self._network.seconds_left(httpcore.ConnectTimeout)
        secure = self._stream.start_tls(ssl_context, server_hostname, left)
        return _TimedStream(secure, self._network)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as the library declares it
        """Tell what the connection knows of itself."""
        return self._stream.get_extra_info(info)
