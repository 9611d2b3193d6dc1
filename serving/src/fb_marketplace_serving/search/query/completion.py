"""Completion of queries while they are typed: words, categories and towns."""

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Final, Literal, NamedTuple
from weakref import proxy

import numpy as np

from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.listings.filters import SEPARATOR
from fb_marketplace_serving.search.listings.gazetteer import Gazetteer, fold_name
from fb_marketplace_serving.search.query.vocabulary import Vocabulary
from fb_marketplace_serving.search.tokenizer import terms, words

CompletionKind = Literal["word", "category", "town"]

MIN_WORD_LENGTH: Final = 3
"""Minimum letters of a completed word."""

MAX_COMPARED: Final = 20
"""Number of frequent words that are compared by how often they occur with the word before."""

CACHE_SIZE: Final = 4096
"""Number of texts whose completions are stored. Many people type the same beginnings."""

_BEFORE_TOWN: Final = frozenset({"in", "near", "around"})


class Completion(NamedTuple):
    """A completed query.

    Attributes:
        text: the query.
        kind: the kind of its last part.
        value: the word, category path or town.
    """

    text: str
    kind: CompletionKind
    value: str


class _Entry(NamedTuple):
    """A name that may be completed, with the number of its listings as weight."""

    key: str
    name: str
    value: str
    weight: float


class _Prefixes:
    """Names sorted by key."""

    def __init__(self, entries: Iterable[_Entry]) -> None:
        self._entries = sorted(entries)
        self._keys = [entry.key for entry in self._entries]
        self._weights = np.array([entry.weight for entry in self._entries], np.float64)

    def top(self, prefix: str, count: int) -> list[_Entry]:
        """Return the entries with the highest weights that begin with a prefix, highest first."""
        first = bisect_left(self._keys, prefix)
        last = bisect_left(self._keys, prefix + "\U0010ffff")
        weights = self._weights[first:last]
        numbers = np.arange(len(weights))
        if len(weights) > count:
            numbers = np.argpartition(-weights, count)[:count]
        entries = [self._entries[first + number] for number in numbers.tolist()]
        return sorted(entries, key=lambda entry: (-entry.weight, entry.key))


class Completer:
    """Completes queries by the vocabulary of a release. Thread-safe."""

    def __init__(self, vocabulary: Vocabulary, bm25: BM25Index, gazetteer: Gazetteer) -> None:
        """Sort the words, categories and towns.

        Args:
            vocabulary: words, categories and towns of the listings.
            bm25: tells which words occur together.
            gazetteer: has the towns without listings, too. These come last.
        """
        self._bm25 = bm25
        # Weak, so that the completer of a previous release is freed at once.
        self._cached = lru_cache(CACHE_SIZE)(partial(Completer._complete, proxy(self)))
        self._words = _Prefixes(
            _Entry(word, word, word, count)
            for word, count in vocabulary.words.items()
            if len(word) >= MIN_WORD_LENGTH and not word.isdigit()
        )
        counts: dict[str, int] = {}
        for path, count in vocabulary.paths.items():
            parts = path.split(SEPARATOR)
            for depth in range(1, len(parts) + 1):
                prefix = SEPARATOR.join(parts[:depth])
                counts[prefix] = counts.get(prefix, 0) + count
        self._categories = _Prefixes(
            _Entry(fold_name(name), name, path, count)
            for path, count in counts.items()
            if (name := path.split(SEPARATOR)[-1])
        )
        towns = {name: population / 1e9 for name, population in gazetteer.towns()} | {
            name: float(count) for name, count in vocabulary.towns.items()
        }
        self._towns = _Prefixes(
            _Entry(fold_name(name), name, name, weight) for name, weight in towns.items()
        )

    def complete(self, text: str, limit: int) -> tuple[Completion, ...]:
        """Return completions of a query, best first.

        Towns come first after "in" or "near". Otherwise, names that begin with the whole query come before
        completions of its last word.

        Args:
            text: the query so far.
            limit: maximum number.
        """
        return self._cached(text, limit)

    def _complete(self, text: str, limit: int) -> tuple[Completion, ...]:
        tokens = words(text)
        if not tokens:
            return ()
        completions = [
            *self._complete_town(text, tokens, limit),
            *self._complete_all(tokens, limit),
        ]
        if len(tokens) > 1 and not text[-1].isspace():
            completions += self._complete_word(text, tokens, limit)
        query = " ".join(tokens)
        unique = {(c.kind, c.text): c for c in completions if " ".join(words(c.text)) != query}
        return tuple(unique.values())[:limit]

    def _complete_town(self, text: str, tokens: list[str], limit: int) -> list[Completion]:
        """Complete "sofa in le" to "sofa in Leeds"."""
        before = [number for number, token in enumerate(tokens) if token in _BEFORE_TOWN]
        if not before or before[-1] == len(tokens) - 1:
            return []
        name = tokens[before[-1] + 1 :]
        head = _text_before(text, name)
        if head is None:
            return []
        return [
            Completion(f"{head}{entry.name}", "town", entry.value)
            for entry in self._towns.top(" ".join(name), limit)
        ]

    def _complete_all(self, tokens: list[str], limit: int) -> list[Completion]:
        """Return the names that begin with the whole query, by weight."""
        query = " ".join(tokens)
        sources: tuple[tuple[CompletionKind, _Prefixes], ...] = (
            ("word", self._words),
            ("category", self._categories),
            ("town", self._towns),
        )
        matches = [(entry, kind) for kind, source in sources for entry in source.top(query, limit)]
        matches.sort(key=lambda match: -match[0].weight)
        return [Completion(entry.name, kind, entry.value) for entry, kind in matches]

    def _complete_word(self, text: str, tokens: list[str], limit: int) -> list[Completion]:
        """Complete the last word: words that often occur with the word before come first."""
        head = _text_before(text, tokens[-1:])
        if head is None:
            return []
        has_previous = np.zeros(self._bm25.documents, np.bool_)
        has_previous[self._bm25.documents_with(terms(tokens[-2])[0])] = True
        entries = self._words.top(tokens[-1], max(limit, MAX_COMPARED))
        together = {
            entry: int(has_previous[self._bm25.documents_with(terms(entry.key)[0])].sum())
            for entry in entries
        }
        entries.sort(key=lambda entry: (-together[entry], -entry.weight))
        return [Completion(f"{head}{entry.name}", "word", entry.value) for entry in entries[:limit]]


def _text_before(text: str, tail: list[str]) -> str | None:
    """Return a text up to its last words, with at most one space at the end; None if they do not end it.

    A sign may be several words: "½" is "1" and "2".
    """
    for start in range(len(text) - 1, -1, -1):
        if words(text[start:]) == tail:
            head = text[:start]
            return f"{head.rstrip()} " if head[-1:].isspace() else head
    return None
