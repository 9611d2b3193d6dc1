"""Oddities of text from phones and copy-and-paste."""

from random import Random

EMOJI = ("😀", "🔥", "🚲", "👍", "🎁", "⭐", "🏡", "📦", "💥", "🙏")

_QUIRKS = (
    lambda text: f"“{text}” – it’s a lovely piece",
    lambda text: text.replace(" ", "\u00a0", 3),
    lambda text: text.replace(" ", " \u200b", 2),
    lambda text: f"{text} About 2½ years old, from the café.",
    lambda text: f"{text} Comes from the cafe\u0301 next door.",
    lambda text: f"{text}\u0007 \u001bSee pictures.",
    lambda text: f'{text} The label says "finest", 12" across.',
    lambda text: f"{text}\nCall after six.\nThanks",
)
QUIRK_COUNT = len(_QUIRKS)


def add_emoji(text: str, random: Random) -> str:
    """Return the text with an emoji before it, after it, or both."""
    first, last = random.choice(EMOJI), random.choice(EMOJI)
    return random.choice((f"{first} {text}", f"{text} {last}{last}", f"{first}{text} {last}"))


def add_quirk(text: str, variant: int) -> str:
    """Return the text with one quirk, by number modulo `QUIRK_COUNT`.

    The quirks: smart quotes, non-breaking spaces, zero-width spaces, fractions and accents,
    combining accents, control characters, straight quotes, line feeds.
    """
    return _QUIRKS[variant % QUIRK_COUNT](text)
