"""Which servers may be spoken to."""

import socket

import pytest

from data_tools.errors import SourceError
from data_tools.hosts import (
    UnknownHostError,
    canonical_host,
    check_scheme,
    find_addresses,
    is_public,
)
from tests.data_tools.name_server import name_server

PRIVATE = (
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "fd00::1", "fec0::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"),
)
NEVER = (
    *("169.254.169.254", "169.254.1.1", "168.63.129.16", "100.100.100.200", "0.0.0.0"),
    *("255.255.255.255", "224.0.0.1", "239.1.1.1", "::", "fe80::1", "fe80::1%eth0", "ff02::1"),
    *("fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"),
)
PUBLIC = ("8.8.8.8", "140.82.121.3", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_allowed_only_where_the_user_says_so(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_public(address)
    name_server(monkeypatch, address)
    with pytest.raises(SourceError, match=r"inside\.test .* --allow-private"):
        find_addresses("inside.test", 443)
    monkeypatch.setenv("CODEQA_ALLOW_PRIVATE", "1")
    assert len(find_addresses("inside.test", 443)) == 1


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_asked(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_public(address)
    name_server(monkeypatch, address)
    monkeypatch.setenv("CODEQA_ALLOW_PRIVATE", "1")
    with pytest.raises(SourceError, match="never asked"):
        find_addresses("metadata.test", 443)


def test_of_a_name_with_public_and_private_addresses_the_public_ones_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name_server(monkeypatch, ("10.0.0.1", "8.8.8.8", "169.254.169.254"))
    assert find_addresses("both.test", 443) == ("8.8.8.8",)


def test_a_name_that_nobody_knows_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    name_server(monkeypatch, socket.gaierror())
    with pytest.raises(UnknownHostError, match="check its spelling and the network"):
        find_addresses("nowhere.test", 443)


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("git.example", "git.example"),
        ("Git.Example.", "Git.Example"),
        ("build_7", "build_7"),
        ("192.168.1.7", "192.168.1.7"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:ffff:7f00:1]", "[::ffff:7f00:1]"),
        ("gіthub.com", "xn--gthub-n2e.com"),  # its second letter is Cyrillic
        ("１２７.0.0.1", "127.0.0.1"),
        ("127。0。0。1", "127.0.0.1"),
        ("ｌocalhost", "localhost"),
    ],
)
def test_a_host_is_written_in_one_way(host: str, canonical: str) -> None:
    assert canonical_host(host) == canonical


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "-x", "-oProxyCommand=x", "a b", "a..b", "a/b", "evil.com／a", "a\\b", "a%00b"),
        *("$(touch x)", "`x`", "a;b", "a|b", "a&b", "a'b", 'a"b', "a\nb", "a#b", "a?b", "a@b"),
        *("2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1", "0177.0.0.1", "1.2.3.256"),
        *("[::1", "[fe80::1%25eth0]", "[127.0.0.1]", "x" * 300, "ü" * 70, "a.0x7f", "1.2.3.4.5"),
    ],
)
def test_what_could_be_read_in_two_ways_is_no_host(host: str) -> None:
    with pytest.raises(SourceError, match="not a host") as caught:
        canonical_host(host)
    assert str(caught.value).isprintable() and str(caught.value).isascii()


def test_plain_http_is_refused_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    check_scheme("https", "git.example")
    with pytest.raises(SourceError, match="write https://git.example, or allow it"):
        check_scheme("http", "git.example")
    monkeypatch.setenv("CODEQA_ALLOW_PRIVATE", "1")
    check_scheme("http", "git.example")
