"""Compare spelling correctors on generated typos, and measure the opening of a vocabulary.

    FB_RAW=<listings> python benchmarks/long/spelling.py

The correctors choose from the same words, by distance and then frequency. Words come from the titles and
descriptions of `Assets/Products.csv`; invented ones make up the vocabulary of 100,000 titles. symspellpy
and tantivy are measured if they are installed. Times are CPU times.
"""

import os
import random
import string
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.listings.gazetteer import COLUMNS, Gazetteer
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.query.completion import Completer
from fb_marketplace_serving.search.query.spelling import TWO_EDITS_LENGTH, Speller
from fb_marketplace_serving.search.query.vocabulary import Vocabulary
from fb_marketplace_serving.search.tokenizer import terms, words

TITLES, TITLE_WORDS, VOCABULARY, TYPOS, PREFIXES = 100_000, 6, 70_000, 1000, 3000
HELD_OUT = 0.2
"""Share of listings whose unknown words are correct, but not in the vocabulary."""


class Typo(NamedTuple):
    """A misspelled word and the word."""

    text: str
    word: str


def main() -> None:
    """Print a table of correctors, the corrections of Speller, and times to open and to complete."""
    raw = Path(os.environ["FB_RAW"]) / "Assets/Products.csv"
    rows = pd.read_csv(raw, lineterminator="\n").fillna("")
    texts = [f"{row.product_name} {row.product_description}" for row in rows.itertuples()]
    rng = random.Random(0)
    counts = Counter(word for text in texts for word in words(text))
    typos = make_typos(counts, rng)
    candidates = {word: n for word, n in counts.items() if len(word) >= 3 and word.isalpha()}
    print(f"{len(texts):,} listings, {len(counts):,} words, {len(typos):,} typos")
    for name, build in CORRECTORS.items():
        seconds, correct = timed(lambda build=build: build(candidates))
        report(name, seconds, correct, typos)
    check_precision(texts, rng)
    measure_opening(texts, rng)


def make_typos(counts: Counter[str], rng: random.Random) -> list[Typo]:
    """Return frequent words with one random edit, or two in every other word of 8 letters."""
    frequent = [
        w for w, n in counts.items() if n >= 3 and w.isalpha() and w.isascii() and len(w) > 3
    ]
    weights = [counts[word] ** 0.5 for word in frequent]
    typos = []
    while len(typos) < TYPOS:
        word = rng.choices(frequent, weights)[0]
        text = edit(word, rng)
        if len(word) >= TWO_EDITS_LENGTH and rng.random() < 0.5:
            text = edit(text, rng)
        if text not in counts and len(text) > 3:
            typos.append(Typo(text, word))
    return typos


def edit(word: str, rng: random.Random) -> str:
    """Return a word with a letter removed, inserted, replaced or swapped with the next one."""
    place = rng.randrange(len(word) - 1)
    letter = rng.choice(string.ascii_lowercase)
    before, first, second, after = word[:place], word[place], word[place + 1], word[place + 2 :]
    return rng.choice(
        [
            before + second + after,
            before + letter + first + second + after,
            before + letter + second + after,
            before + second + first + after,
        ]
    )


def max_edits(word: str) -> int:
    """Return the edits that are corrected in a word."""
    return 2 if len(word) >= TWO_EDITS_LENGTH else 1


Correct = Callable[[str], str | None]


def rapidfuzz_corrector(counts: dict[str, int]) -> Correct:
    """Compare with all words of similar length."""
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    by_length: dict[int, list[str]] = {}
    for word in counts:
        by_length.setdefault(len(word), []).append(word)

    def correct(text: str) -> str | None:
        edits = max_edits(text)
        matches = [
            (distance, -counts[word], word)
            for length in range(len(text) - edits, len(text) + edits + 1)
            for word, distance, _ in process.extract(
                text,
                by_length.get(length, ()),
                scorer=OSA.distance,
                score_cutoff=edits,
                limit=None,
            )
        ]
        return min(matches)[2] if matches else None

    return correct


def delete_index_corrector(counts: dict[str, int]) -> Correct:
    """Look up deletions, as SymSpell does, in a dictionary."""
    from rapidfuzz.distance import OSA

    index: dict[str, list[str]] = {}
    for word in counts:
        for key in deletions(word):
            index.setdefault(key, []).append(word)

    def correct(text: str) -> str | None:
        near = {word for key in deletions(text) for word in index.get(key, ())}
        matches = [(OSA.distance(text, word), -counts[word], word) for word in near]
        matches = [match for match in matches if match[0] <= max_edits(text)]
        return min(matches)[2] if matches else None

    return correct


def deletions(word: str) -> set[str]:
    """Return a word without up to ``max_edits`` letters."""
    result = last = {word}
    for _ in range(max_edits(word)):
        last = {text[:place] + text[place + 1 :] for text in last for place in range(len(text))}
        result = result | last
    return result


def symspell_corrector(counts: dict[str, int]) -> Correct:
    """Look up in symspellpy."""
    from symspellpy import SymSpell, Verbosity

    index = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    for word, count in counts.items():
        index.create_dictionary_entry(word, count)

    def correct(text: str) -> str | None:
        matches = index.lookup(text, Verbosity.TOP, max_edit_distance=max_edits(text))
        return matches[0].term if matches else None

    return correct


def tantivy_corrector(counts: dict[str, int]) -> Correct:
    """Search one document per word by fuzzy terms, in tantivy."""
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("word", stored=True, tokenizer_name="raw")
    builder.add_integer_field("count", stored=True, fast=True)
    schema = builder.build()
    index = tantivy.Index(schema)
    writer = index.writer(15_000_000, 1)
    for word, count in counts.items():
        writer.add_document(tantivy.Document(word=word, count=count))
    writer.commit()
    index.reload()
    searcher = index.searcher()

    def correct(text: str) -> str | None:
        for edits in range(1, max_edits(text) + 1):
            query = tantivy.Query.fuzzy_term_query(schema, "word", text, edits, True)
            hits = searcher.search(query, 1, order_by_field="count").hits
            if hits:
                return str(searcher.doc(hits[0][1])["word"][0])
        return None

    return correct


CORRECTORS: dict[str, Callable[[dict[str, int]], Correct]] = {
    "rapidfuzz": rapidfuzz_corrector,
    "delete index": delete_index_corrector,
    "symspellpy": symspell_corrector,
    "tantivy": tantivy_corrector,
}


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call and its result; ImportError as the result if a library lacks."""
    start = time.process_time()
    try:
        result = function()
    except ImportError as error:
        return 0.0, error
    return time.process_time() - start, result


def report(
    name: str, seconds: float, correct: Correct | ImportError, typos: Iterable[Typo]
) -> None:
    """Print the accuracy and the times of a corrector."""
    if isinstance(correct, ImportError):
        print(f"{name:14} {correct}")
        return
    results = [timed(lambda typo=typo: correct(typo.text) == typo.word) for typo in typos]
    ms = np.array([1000 * duration for duration, _ in results])
    accuracy = np.mean([is_correct for _, is_correct in results])
    print(
        f"{name:14} build {seconds:5.2f} s   {accuracy:.3f} correct   "
        f"{np.mean(ms):6.3f} ms, p99 {np.percentile(ms, 99):6.3f} ms"
    )


def check_precision(texts: list[str], rng: random.Random) -> None:
    """Print how many typos, and how many correct words that are unknown, Speller changes and offers."""
    shuffled = rng.sample(texts, len(texts))
    cut = int(len(texts) * HELD_OUT)
    known, held_out = shuffled[cut:], shuffled[:cut]
    speller = make_speller(known)
    counts = Counter(word for text in known for word in words(text))
    unknown = {
        word
        for text in held_out
        for word in words(text)
        if word not in counts and len(word) > 3 and word.isalpha() and word.isascii()
    }
    typos = make_typos(counts, rng)
    results = [speller.correct(typo.text) for typo in typos]
    right = sum(result.text == typo.word for result, typo in zip(results, typos, strict=True))
    offered = sum(
        result.suggestion == typo.word for result, typo in zip(results, typos, strict=True)
    )
    others = [speller.correct(word) for word in unknown]
    split = sum(" " in result.text for result in others)
    changed = sum(result.text != word for result, word in zip(others, unknown, strict=True))
    print(
        f"Speller: {right / len(typos):.3f} of typos corrected to the word, "
        f"{offered / len(typos):.3f} offered; of {len(unknown):,} words of other listings "
        f"{split / len(unknown):.3f} split, {(changed - split) / len(unknown):.3f} replaced"
    )


def make_speller(texts: list[str]) -> Speller:
    """Return a speller of texts."""
    vocabulary = Vocabulary.from_listings(make_listings(texts))
    return Speller(vocabulary, make_bm25(texts), Gazetteer([[] for _ in COLUMNS]))


def make_listings(titles: Iterable[str]) -> list[Listing]:
    """Return listings with titles."""
    return [
        Listing(str(n), t, 1.0, "GBP", "All", "All", "Leeds", None) for n, t in enumerate(titles)
    ]


def make_bm25(texts: list[str]) -> BM25Index:
    """Return an index of terms whose scores are one."""
    documents: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        for term in set(terms(text)):
            documents.setdefault(term, []).append(number)
    starts = np.cumsum([0, *map(len, documents.values())])
    rows = np.concatenate([np.array(rows, np.int32) for rows in documents.values()])
    return BM25Index(tuple(documents), starts, rows, np.ones(len(rows), np.float32), len(texts))


def measure_opening(texts: list[str], rng: random.Random) -> None:
    """Print the CPU time of a vocabulary of many titles, and of completions and corrections."""
    pool = [word for text in texts for word in text.split()]
    distinct = len({word for text in texts for word in words(text)})
    invented = [
        "".join(rng.choices(string.ascii_lowercase, k=8)) for _ in range(VOCABULARY - distinct)
    ]
    titles = [" ".join(rng.choices(pool, k=TITLE_WORDS)) for _ in range(TITLES)]
    for number, word in enumerate(invented):
        titles[number % TITLES] += f" {word}"
    listings, bm25 = make_listings(titles), make_bm25(titles)
    gazetteer = Gazetteer([[] for _ in COLUMNS])
    count_s, vocabulary = timed(lambda: Vocabulary.from_listings(listings))
    speller_s, speller = timed(lambda: Speller(vocabulary, bm25, gazetteer))
    completer_s, completer = timed(lambda: Completer(vocabulary, bm25, gazetteer))
    print(
        f"{TITLES:,} titles, {len(vocabulary.words):,} words: opening {count_s:.2f} + {speller_s:.2f} + "
        f"{completer_s:.2f} s"
    )
    prefixes = []
    while len(prefixes) < PREFIXES:
        first, last = rng.choices(pool, k=2)
        prefixes.append(f"{first} {last}"[: rng.randrange(1, len(first) + len(last) + 2)])
    for name, function, queries in (
        ("complete", lambda text: completer.complete(text, 8), prefixes),
        (
            "correct",
            speller.correct,
            [typo.text for typo in make_typos(Counter(vocabulary.words), rng)],
        ),
    ):
        ms = [1000 * timed(partial(function, text))[0] for text in queries]
        print(f"{name}: {np.mean(ms):.3f} ms, p99 {np.percentile(ms, 99):.3f} ms")


if __name__ == "__main__":
    main()
