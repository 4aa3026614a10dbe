"""Text in, ranked evidence out.

::

    from retrieval import CodeIndex

    index = CodeIndex.build(["https://github.com/mosaicml/composer"], "index/")
    for hit in index.search("How do callbacks get called?"):
        print(hit.chunk.path, hit.chunk.start_line, hit.url)

Names are imported when first used, so that `import retrieval` stays quick.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.build import Progress
    from retrieval.index import CodeIndex, Hit

__all__ = ["CodeIndex", "Hit", "Progress"]


def __getattr__(name: str) -> object:
    if name in ("CodeIndex", "Hit"):
        from retrieval import index

        return getattr(index, name)
    if name == "Progress":
        from retrieval.build import Progress

        return Progress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
