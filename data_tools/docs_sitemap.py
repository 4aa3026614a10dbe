"""Sitemaps: the pages that a site says it has.

An XML file of addresses, or of other such files, perhaps compressed. Files that declare a document
type are refused, as that is where entities are declared that grow a thousandfold or read files.
"""

import zlib

from lxml import etree

MAX_ADDRESSES = 50_000  # as the format allows
MAX_SITEMAP_BYTES = 50_000_000  # likewise, decompressed
_GZIP = b"\x1f\x8b"


class UnreadableSitemapError(Exception):
    """A sitemap that cannot, or must not, be read; the message is the reason."""


def read_sitemap(data: bytes) -> tuple[list[str], list[str]]:
    """Read a sitemap.

    :return: addresses of pages, and of other sitemaps, as they are written there.
    :raises UnreadableSitemapError: it is no XML, declares a document type, or is too large.
    """
    if data.startswith(_GZIP):
        data = _unpack(data)
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False
    )
    try:
        root = etree.fromstring(data.strip(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableSitemapError("not readable as XML") from error
    if root.getroottree().docinfo.doctype:
        raise UnreadableSitemapError("declares a document type, which no sitemap needs")
    addresses = [
        (element.text or "").strip()
        for element in root.iterfind("{*}*/{*}loc")
        if isinstance(element.tag, str)
    ][:MAX_ADDRESSES]
    is_index = etree.QName(root).localname == "sitemapindex"
    return ([], addresses) if is_index else (addresses, [])


def _unpack(data: bytes) -> bytes:
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = unpack.decompress(data, MAX_SITEMAP_BYTES)
    except zlib.error as error:
        raise UnreadableSitemapError("its compressed content is damaged") from error
    if unpack.unconsumed_tail:
        raise UnreadableSitemapError(f"larger than {MAX_SITEMAP_BYTES:,} bytes")
    return text
