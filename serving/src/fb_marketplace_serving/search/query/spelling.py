"""Spelling: replaces words that occur in no listing with words of the release.

Words of listings, names of towns, and words of fewer than ``MIN_LENGTH`` letters are not corrected, except
for a seller's rare mistake. Corrections are compared by their edit distance with transpositions (optimal
string alignment), then by whether a listing has them together with the other words of the query, then by
frequency and kind of edit.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.listings.filters import SEPARATOR
from fb_marketplace_serving.search.listings.gazetteer import Gazetteer
from fb_marketplace_serving.search.query.lexicon import FUNCTION_WORDS, NAME_WORDS, STOP_WORDS
from fb_marketplace_serving.search.query.vocabulary import Vocabulary
from fb_marketplace_serving.search.tokenizer import terms, words

MIN_LENGTH: Final = 4
"""Minimum letters of a word to correct."""

TWO_EDITS_LENGTH: Final = 8
"""Minimum letters of a word in which two edits are corrected, not one."""

MIN_SPLIT_LENGTH: Final = 6
"""Minimum letters of a word to split in two."""

LONG_LENGTH: Final = 6
"""Minimum letters of a word whose correction by one edit needs no support. The minimum is one letter less
if the first letter is the same, and one less if a letter is missing or two are swapped: words are rarely
so similar by chance."""

SHORT_LENGTH: Final = 4
SHORT_FACTOR: Final = 5
"""A short word that no listing has is often another word, not a mistake. Unless two letters are swapped,
its correction needs the same first letter and, unless a letter is missing, five times the support."""

MAX_SUPPORT: Final = 10
LISTINGS_PER_SUPPORT: Final = 2000
"""A correction needs one occurrence in titles, and one more for each 2,000 listings, up to ten; unless it
is one edit, and the word is long or a listing has the correction and the other words of the query."""

FIRST_LETTER_FACTOR: Final = 20
SLIP_FACTOR: Final = 10
"""Factors on the support of a correction with the same first letter, and of one with one letter more or
with two letters swapped. Chosen on typos in titles of the validation split."""

RARE: Final = 2
CLEARLY_MORE: Final = 25
"""A word in at most ``RARE`` listings may be a seller's mistake: a word of this many times its support is
offered, but not searched for. If no listing has it together with the other words of the query, but one has
a more frequent word with them, that word is searched for."""

MAX_CORRECTIONS: Final = 8
"""Maximum words to correct: a comparison with the vocabulary takes a millisecond."""

_TOKEN: Final = re.compile(r"[^\W_]+")
_LETTERS_AND_DIGITS: Final = re.compile(r"([a-z]{2,})(\d+)|(\d+)([a-z]{3,})")
Span = tuple[int, int]


class Correction(NamedTuple):
    """A corrected query.

    Attributes:
        text: the query to search for; the query itself if it needs no correction.
        suggestion: a query with less certain corrections; None if there are none.
    """

    text: str
    suggestion: str | None


class _Edit(NamedTuple):
    """A replacement of a part of a query, and whether it is certain enough to search for it."""

    span: Span
    text: str
    is_certain: bool


class _Context(NamedTuple):
    """The other words of a query, and whether a listing has all words of the query that any listing has."""

    others: tuple[str, ...]
    is_matched: bool


class _Near(NamedTuple):
    """A word near another one, and whether a listing has it together with the other words of the query."""

    word: str
    is_together: bool


class _Words(NamedTuple):
    """Words of one length, and the letters of each as bits: uint32, (words,)."""

    words: list[str]
    letters: NDArray[np.uint32]


class Speller:
    """Corrects queries by the vocabulary of a release. Thread-safe."""

    def __init__(self, vocabulary: Vocabulary, bm25: BM25Index, gazetteer: Gazetteer) -> None:
        """Index the words of a vocabulary by length.

        Args:
            vocabulary: words of titles, categories and towns.
            bm25: has the stems of descriptions, too.
            gazetteer: knows the names of towns.
        """
        self._bm25, self._gazetteer = bm25, gazetteer
        self._min_support = min(MAX_SUPPORT, 1 + vocabulary.listings // LISTINGS_PER_SUPPORT)
        self._counts = dict(vocabulary.words)
        for town, count in vocabulary.towns.items():
            for word in words(town):
                self._counts[word] = self._counts.get(word, 0) + count
        for part in {part for path in vocabulary.paths for part in path.split(SEPARATOR)}:
            for word in words(part):
                # Only if a listing would be found by it.
                if len(self._documents(word)):
                    self._counts[word] = max(self._counts.get(word, 0), self._min_support)
        by_length: dict[int, list[str]] = {}
        for word in self._counts:
            is_candidate = len(word) >= MIN_LENGTH - 1 and word.isalpha()
            if is_candidate and word not in STOP_WORDS:
                by_length.setdefault(len(word), []).append(word)
        self._by_length = {
            length: _Words(same, _letters(same)) for length, same in by_length.items()
        }

    def correct(self, text: str, skipped: Sequence[Span] = ()) -> Correction:
        """Correct a query.

        Args:
            text: the query.
            skipped: start and end of parts that are understood as they are.
        """
        tokens = [
            token
            for token in _TOKEN.finditer(text)
            if not any(start < token.end() and token.start() < end for start, end in skipped)
        ]
        folded = [_fold(token[0]) for token in tokens]
        is_matched = len(self._documents_with_all(folded)) > 0
        edits: list[_Edit] = []
        number = 0
        while number < len(tokens) and len(edits) < MAX_CORRECTIONS:
            context = _Context((*folded[:number], *folded[number + 2 :]), is_matched)
            edit = self._join(text, tokens[number : number + 2], context)
            number += 2 if edit else 1
            context = _Context((*folded[: number - 1], *folded[number:]), is_matched)
            edit = edit or self._replace(tokens[number - 1], context)
            if edit:
                edits.append(edit)
        corrected = _apply(text, [edit for edit in edits if edit.is_certain])
        suggestion = _apply(text, edits)
        return Correction(corrected, None if suggestion == corrected else suggestion)

    def _join(self, text: str, tokens: list[re.Match[str]], context: _Context) -> _Edit | None:
        """Return "book case" as "bookcase", if that is a word."""
        if len(tokens) < 2 or text[tokens[0].end() : tokens[1].start()].strip(" -"):
            return None
        first, second = (_fold(token[0]) for token in tokens)
        joined = first + second
        support = self._counts.get(joined, 0)
        if support < self._min_support or not joined.isalpha() or len(joined) < MIN_LENGTH + 1:
            return None
        span = tokens[0].start(), tokens[1].end()
        if not (self._is_known(first) and self._is_known(second)):
            return _Edit(span, joined, is_certain=True)
        if self._completes(joined, context):
            return _Edit(span, joined, is_certain=True)
        together = len(np.intersect1d(self._documents(first), self._documents(second)))
        return _Edit(span, joined, is_certain=False) if support > 2 * together else None

    def _replace(self, token: re.Match[str], context: _Context) -> _Edit | None:
        word = _fold(token[0])
        if self._is_known(word):
            return self._separate(token.span(), word, context) or self._offer(
                token.span(), word, context
            )
        if not word.isalpha():
            return self._part_number(token.span(), word)
        near = self._nearest(word, 1, context.others)
        if near:
            evidence = len(word) + _is_slip(word, near.word) + (near.word[0] == word[0])
            is_long = evidence >= LONG_LENGTH
            is_certain = near.is_together or is_long or self._is_supported(word, near.word)
            return _Edit(token.span(), near.word, is_certain)
        split = self._split(word)
        if split:
            return _Edit(token.span(), split, is_certain=True)
        near = self._nearest(word, 2, context.others) if len(word) >= TWO_EDITS_LENGTH else None
        if near is None:
            return None
        return _Edit(token.span(), near.word, self._is_supported(word, near.word))

    def _part_number(self, span: Span, word: str) -> _Edit | None:
        """Return "iphone 12" for "iphone12" if both parts occur."""
        numbered = _LETTERS_AND_DIGITS.fullmatch(word)
        parts = [part for part in numbered.groups() if part] if numbered else []
        if not parts or any(self._counts.get(part, 0) < self._min_support for part in parts):
            return None
        return _Edit(span, " ".join(parts), is_certain=True)

    def _is_supported(self, word: str, near: str) -> bool:
        """Return whether a correction is frequent enough to search for it."""
        support = self._counts[near]
        is_short = len(word) <= SHORT_LENGTH and sorted(near) != sorted(word)
        if is_short and len(near) <= len(word):
            support //= SHORT_FACTOR
        return support >= self._min_support and not (is_short and near[0] != word[0])

    def _separate(self, span: Span, word: str, context: _Context) -> _Edit | None:
        """Return "oak table" for "oaktable" if a listing has all words only then."""
        if context.is_matched:
            return None
        split = self._split(word)
        is_needed = split is not None and self._completes(split, context)
        return _Edit(span, split, is_certain=True) if split and is_needed else None

    def _completes(self, text: str, context: _Context) -> bool:
        """Return whether a listing has these and the other words, but none has the query as typed."""
        if context.is_matched or not context.others:
            return False
        return len(self._documents_with_all([*text.split(), *context.others])) > 0

    def _offer(self, span: Span, word: str, context: _Context) -> _Edit | None:
        """Return the likely word for a rare one.

        It is certain if a listing has all words only then, or if no title has the rare word.
        """
        if len(word) <= MIN_LENGTH or not word.isalpha() or word in FUNCTION_WORDS:
            return None
        support = len(self._documents(word))
        if support > RARE or self._gazetteer.has_name(word):
            return None
        near = self._nearest(word, 1, context.others, excluded=word)
        if near is None:
            return None
        near_support = self._counts[near.word]
        if near.is_together and not context.is_matched and near_support > support:
            return _Edit(span, near.word, is_certain=True)
        if near_support < CLEARLY_MORE * max(support, 1):
            return None
        return _Edit(span, near.word, is_certain=word not in self._counts)

    def _nearest(
        self, word: str, distance: int, others: Sequence[str] = (), excluded: str = ""
    ) -> _Near | None:
        """Return the best word of exactly this distance, or None.

        Words that a listing has together with the other words come first, then the most likely one.
        """
        letters = _letters([word])
        candidates: list[str] = []
        for length in range(len(word) - distance, len(word) + distance + 1):
            if length in self._by_length:
                same_length = self._by_length[length]
                # An edit changes the set of letters by at most two. Comparing words costs more.
                near = np.bitwise_count(same_length.letters ^ letters) <= 2 * distance
                candidates += [same_length.words[row] for row in np.flatnonzero(near).tolist()]
        matches = [
            match
            for match, edits, _ in process.extract(
                word, candidates, scorer=OSA.distance, score_cutoff=distance, limit=None
            )
            if edits == distance and match != excluded
        ]
        if not matches:
            return None
        together = self._together(matches, others)
        best = min(
            matches,
            key=lambda match: (match not in together, -self._likelihood(word, match), match),
        )
        return _Near(best, best in together)

    def _likelihood(self, word: str, near: str) -> int:
        """Return the relative likelihood that a word is a mistake for another."""
        first_letter = FIRST_LETTER_FACTOR if near[0] == word[0] else 1
        return self._counts[near] * first_letter * (SLIP_FACTOR if _is_slip(word, near) else 1)

    def _together(self, matches: Sequence[str], others: Sequence[str]) -> set[str]:
        """Return the words that a listing has together with all others."""
        documents = self._documents_with_all(others)
        if not len(documents):
            return set()
        has_all = np.zeros(self._bm25.documents, np.bool_)
        has_all[documents] = True
        return {match for match in matches if has_all[self._documents(match)].any()}

    def _documents_with_all(self, others: Sequence[str]) -> NDArray[np.int32]:
        """Return the documents with all words that any document has; none if there is no such word."""
        documents: NDArray[np.int32] | None = None
        for word in dict.fromkeys(others):
            if word not in FUNCTION_WORDS and len(rows := self._documents(word)):
                documents = rows if documents is None else np.intersect1d(documents, rows)
                if not len(documents):
                    break
        return np.empty(0, np.int32) if documents is None else documents

    def _split(self, word: str) -> str | None:
        """Return "oaktable" as "oak table", if both are words."""
        if len(word) < MIN_SPLIT_LENGTH:
            return None
        cuts = [
            (min(self._counts.get(word[:cut], 0), self._counts.get(word[cut:], 0)), cut)
            for cut in range(2, len(word) - 1)
        ]
        support, cut = max(cuts)
        return f"{word[:cut]} {word[cut:]}" if support >= self._min_support else None

    def _is_known(self, word: str) -> bool:
        return (
            len(word) < MIN_LENGTH
            or word in self._counts
            or word in FUNCTION_WORDS | NAME_WORDS
            or len(self._documents(word)) > 0
            or self._gazetteer.has_name(word)
        )

    def _documents(self, word: str) -> NDArray[np.int32]:
        """Return the documents with the stem of a word."""
        return self._bm25.documents_with("".join(terms(word)))


def _is_slip(word: str, near: str) -> bool:
    """Return whether a letter is missing or two are swapped: few words are so similar by chance."""
    return len(near) > len(word) or sorted(near) == sorted(word)


def _letters(same_length: list[str]) -> NDArray[np.uint32]:
    """Return the letters of words of the same length as bits: uint32, (words,)."""
    signs = np.array(same_length).view(np.uint32).reshape(len(same_length), -1)
    bits: NDArray[np.uint32] = np.bitwise_or.reduce(np.uint32(1) << (signs % 32), axis=1)
    return bits


def _fold(token: str) -> str:
    return "".join(words(token))


def _apply(text: str, edits: Sequence[_Edit]) -> str:
    for edit in reversed(edits):
        start, end = edit.span
        text = text[:start] + edit.text + text[end:]
    return text
