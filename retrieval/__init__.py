"""Text in, ranked evidence out.

::

    from retrieval import CodeIndex

    index = CodeIndex.build(["https://github.com/mosaicml/composer"], "index/")
    for hit in index.search("How do callbacks get called?"):
        print(hit.chunk.path, hit.chunk.start_line, hit.url)

Names are imported when first used, so that `import retrieval` stays quick.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_tools.progress import Progress
    from retrieval.index import CodeIndex
    from retrieval.search import Hit

_HOMES = {
    "CodeIndex": "retrieval.index",
    "Hit": "retrieval.search",
    "Progress": "retrieval.build",
}
__all__ = ["CodeIndex", "Hit", "Progress"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
