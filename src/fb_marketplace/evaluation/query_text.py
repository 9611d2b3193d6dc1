"""Words of a title that a short query keeps."""

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
    """Give a title's words that are neither common nor hold a digit."""
    return [word for word in words(title) if word not in COMMON_WORDS and word.isalpha()]


def shorten_title(title: str) -> str:
    """Give the first few words of a title that say something; the title where there is none."""
    return " ".join(content_words(title)[:SHORT_QUERY_WORDS]) or title
