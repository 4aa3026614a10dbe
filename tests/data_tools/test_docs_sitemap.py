"""Sitemaps, and what is made to look like one."""

import gzip

import pytest

from data_tools.docs_sitemap import MAX_SITEMAP_BYTES, UnreadableSitemapError, read_sitemap

PAGES = b"""<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
  <!-- a remark -->
  <url><loc> https://docs.example/a </loc><lastmod>2026-01-01</lastmod></url>
  <url><loc>https://docs.example/b?x=1&amp;y=2</loc></url>
</urlset>
"""
INDEX = b"""<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
  <sitemap><loc>https://docs.example/sitemap-1.xml</loc></sitemap></sitemapindex>"""
BOMB = b"""<!DOCTYPE bomb [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<urlset><url><loc>https://docs.example/&b;</loc></url></urlset>"""
LEAK = b"""<!DOCTYPE leak [<!ENTITY file SYSTEM "file:///etc/passwd">]>
<urlset><url><loc>https://docs.example/&file;</loc></url></urlset>"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pages_are_listed(pack) -> None:
    assert read_sitemap(pack(PAGES)) == (
        ["https://docs.example/a", "https://docs.example/b?x=1&y=2"],
        [],
    )


def test_other_sitemaps_are_listed() -> None:
    assert read_sitemap(INDEX) == ([], ["https://docs.example/sitemap-1.xml"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BOMB, "document type"),
        (LEAK, "document type"),
        (b"", "not readable"),
        (b"<html><body>404", "not readable"),
        (b"\x1f\x8bdamaged", "damaged"),
        (gzip.compress(b" " * (MAX_SITEMAP_BYTES + 1)), "larger than"),
    ],
)
def test_what_does_harm_or_is_no_sitemap_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableSitemapError, match=reason):
        read_sitemap(data)
