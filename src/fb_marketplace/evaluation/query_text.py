"""Queries from titles: short, and misspelled."""

import random
import string
from typing import Final

from fb_marketplace_serving.search.tokenizer import words

SHORT_QUERY_WORDS: Final = 3

COMMON_WORDS: Final = frozenset(
    words(
        """
    a an and any are as at be but by for from good great has have i in is it lot lots my new no not
    of off on one only or other out over per plus pm sale set size small so some the this to two up
    used very was will with you your condition brand free delivery item items inc included includes
        """
    )
)


def content_words(title: str) -> list[str]:
    """Return the words of a title that are neither common nor contain a digit."""
    return [word for word in words(title) if word not in COMMON_WORDS and word.isalpha()]


def shorten_title(title: str) -> str:
    """Return the first content words of a title; the title if there are none."""
    return " ".join(content_words(title)[:SHORT_QUERY_WORDS]) or title


def misspell(word: str, rng: random.Random) -> str:
    """Return a word with one edit: a letter removed, inserted or replaced, or two letters swapped."""
    while True:
        place, letter = rng.randrange(len(word) - 1), rng.choice(string.ascii_lowercase)
        before, first, second, after = word[:place], word[place], word[place + 1], word[place + 2 :]
        edited = rng.choice(
            [
                before + second + after,
                before + letter + first + second + after,
                before + letter + second + after,
                before + second + first + after,
            ]
        )
        if edited != word:
            return edited
