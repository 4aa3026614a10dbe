"""Documents dealt to training, validation and test, near-duplicates always together.

A file held out is worth nothing if a copy of it was trained on. Files whose token shingles are
alike (Jaccard similarity, estimated by MinHash) form a group, and a group is dealt as one, by a
hash of the seed and its first path: the same files and seed give the same split, in any order.
Empty texts have nothing to hold out and go to training.
Only signatures are held, half a kilobyte a document.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from datasketch import MinHash

SPLITS = ("train", "validation", "test")
SHARES: Mapping[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}
SEED = 17
# Of The Stack (Kocetkov et al., arXiv:2211.15533): 5-grams, similarity 0.7.
SHINGLE_TOKENS = 5
SIMILARITY = 0.7
PERMUTATIONS = 128  # of the signature; its standard error is at most 0.045
GROUPS_FOR_ALL = 3  # from as many groups on, no split with a share is empty

_TOKEN = re.compile(r"\w+|[^\w\s]")
_BATCH = 1 << 14  # shingles hashed at once: 8 MB

Key = tuple[str, str]  # repo, path


class Document(Protocol):
    """What is dealt: a text that has a repository and a path."""

    @property
    def repo(self) -> str:
        """Name of the repository."""

    @property
    def path(self) -> str:
        """Path within it."""

    @property
    def text(self) -> str:
        """The whole text."""


@dataclass(frozen=True)
class Assignment:
    """Where one document went.

    :param split: one of `SPLITS`.
    :param group: name of its group of near-duplicates; None if nothing is like it.
    """

    split: str
    group: str | None


def assign_splits(
    documents: Iterable[Document], shares: Mapping[str, float] = SHARES, seed: int = SEED
) -> dict[Key, Assignment]:
    """Deal documents to splits, near-duplicates together.

    :param documents: each is read once and not kept.
    :param shares: of the documents, for each of `SPLITS`; they sum to 1.
    :return: by (repo, path). From three groups on, every split with a share has a document.
    :raises ValueError: shares that are negative, unknown or do not sum to 1, or two documents of
        the same repo and path.
    """
    check_shares(shares)
    result: dict[Key, Assignment] = {}
    groups = _Groups()
    for document in documents:
        key, text = (document.repo, document.path), document.text
        if key in result:
            raise ValueError(f"two documents are called {document.path} of {document.repo}")
        result[key] = Assignment("train", None)
        if text.strip():
            groups.add(key, text)
    together = groups.lists()
    places = _deal([members[0] for members in together], shares, seed)
    for members, split in zip(together, places, strict=True):
        name = _digest(*members[0])[:12] if len(members) > 1 else None
        result.update({key: Assignment(split, name) for key in members})
    return dict(sorted(result.items()))


def check_shares(shares: Mapping[str, float]) -> None:
    """Refuse shares that cannot be dealt by.

    :raises ValueError: they are negative, unknown, or do not sum to 1; or train has none.
    """
    if unknown := set(shares) - set(SPLITS):
        raise ValueError(f"there is no split {', '.join(sorted(unknown))}; use {', '.join(SPLITS)}")
    if min(shares.values(), default=0) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError("the shares of the splits must be at least 0 and sum to 1")
    if not shares.get("train"):
        raise ValueError("the share of train must be above 0")


def _deal(leaders: list[Key], shares: Mapping[str, float], seed: int) -> list[str]:
    """Choose a split for each group by the hash of its leader."""
    bounds = np.cumsum([shares.get(split, 0.0) for split in SPLITS])
    chances = [int(_digest(str(seed), *leader)[:13], 16) / 16**13 for leader in leaders]
    places = [SPLITS[int(np.searchsorted(bounds[:-1], chance, "right"))] for chance in chances]
    if len(leaders) >= GROUPS_FOR_ALL:
        order = sorted(range(len(leaders)), key=lambda at: chances[at])
        for split in SPLITS:
            if shares.get(split) and split not in places:
                donor = max(SPLITS, key=places.count)
                members = [at for at in order if places[at] == donor]
                places[members[0 if split == "train" else -1]] = split
    return places


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class _Groups:
    """Documents gathered into groups of near-duplicates, most of them alone.

    Groups are trees: each document has a parent, and the root stands for the group.
    """

    def __init__(self) -> None:
        from datasketch import MinHash, MinHashLSH

        self._blank = MinHash(PERMUTATIONS, hashfunc=int)
        self._index = MinHashLSH(SIMILARITY, PERMUTATIONS)
        self._signatures: dict[Key, MinHash] = {}
        self._first: dict[bytes, Key] = {}  # of exact copies, of which there may be thousands
        self._parents: dict[Key, Key] = {}

    def add(self, key: Key, text: str) -> None:
        """Put a document in the group of those like it; groups that it is between become one."""
        signature = _sign(text, self._blank)
        self._parents[key] = self._first.setdefault(signature.hashvalues.tobytes(), key)
        if self._parents[key] != key:
            return
        for other in self._index.query(signature):
            if signature.jaccard(self._signatures[other]) >= SIMILARITY:
                self._parents[self._root(other)] = key
        self._index.insert(key, signature)
        self._signatures[key] = signature

    def _root(self, key: Key) -> Key:
        while (parent := self._parents[key]) != key:
            self._parents[key] = key = self._parents[parent]
        return key

    def lists(self) -> list[list[Key]]:
        """List the groups, and the documents of each, in the order of their names."""
        groups: dict[Key, list[Key]] = {}
        for key in sorted(self._parents):
            groups.setdefault(self._root(key), []).append(key)
        return sorted(groups.values())


def _sign(text: str, blank: "MinHash") -> "MinHash":
    """Sketch the set of a text's shingles."""
    signature = blank.copy()
    shingles = _shingles(text)
    for start in range(0, len(shingles), _BATCH):
        signature.update_batch(shingles[start : start + _BATCH])
    return signature


def _shingles(text: str) -> list[int]:
    """Hash every run of `SHINGLE_TOKENS` tokens to 32 bits; a shorter text is one run."""
    known: dict[str, int] = {}
    tokens = np.array(
        [
            known.get(token)
            or known.setdefault(token, zlib.crc32(token.encode("utf-8", "replace")))
            for token in _TOKEN.findall(text)
        ],
        np.uint64,
    )
    size = max(1, min(SHINGLE_TOKENS, len(tokens)))
    runs = np.zeros(max(0, len(tokens) - size + 1), np.uint64)
    for offset in range(size):  # a polynomial of the tokens' hashes, modulo 2^64
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + tokens[offset : offset + len(runs)]
    hashed: list[int] = np.unique(runs >> np.uint64(32)).tolist()
    return hashed
