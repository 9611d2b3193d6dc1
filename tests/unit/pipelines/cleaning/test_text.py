import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace.pipelines.cleaning import text

SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    "meant",
    [
        "Café crème, naïve façade",
        "½ price, £5 or 5 €, 20 m²",
        "“Quoted” – and dashed…",
        FAMILY,
        SCOTLAND,
        "\U0001f1ec\U0001f1e7",
        "\u2764\ufe0f",
        "椅子 कुर्सी كرسي",
    ],
    ids=["accents", "symbols", "quotes", "family", "scotland", "flag", "heart", "scripts"],
)
def test_meaningful_characters_are_kept(meant):
    assert text.normalize(meant) == unicodedata.normalize("NFC", meant)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        pytest.param("Cafe\u0301", "Café", id="an accent of its own joins its letter"),
        pytest.param("a\x00b\x07c\x7f", "abc", id="control characters"),
        pytest.param("so\u200bfa\ufeff\u2060 b\u00aded", "sofa bed", id="zero-width marks"),
        pytest.param("e\u200b\u0301", "é", id="a mark between a letter and its accent"),
        pytest.param("a\u00a0b\u2003 \u3000c", "a b c", id="every kind of space"),
        pytest.param("a\tb", "a b", id="a tab parts words"),
        pytest.param("a \u200b b", "a b", id="spaces that meet when a mark goes"),
        pytest.param("a\rb\r\nc\u2028d\x85e", "a\nb\nc\nd\ne", id="every kind of line end"),
        pytest.param("a \r\n \n\n b", "a\nb", id="blank lines"),
        pytest.param("broken \ud83d half", "broken half", id="a lone surrogate"),
        pytest.param("caf\ufffd", "caf", id="a replacement character"),
        pytest.param("\ue000x\U0010fffe", "x", id="private and unassigned characters"),
        pytest.param("𝐁𝐢𝐤𝐞 𝒇𝒐𝒓 𝕤𝕒𝕝𝕖", "Bike for sale", id="mathematical letters"),
        pytest.param("ＢＩＫＥ！", "BIKE!", id="full-width letters"),
        pytest.param("ﬁne", "fine", id="ligatures"),
        pytest.param("  a  ", "a", id="space at the ends"),
    ],
)
def test_harmful_characters_are_removed_or_repaired(typed, meant):
    assert text.normalize(typed) == meant


@given(st.text() | st.text(st.characters(categories=("Cs", "Cf", "Cc", "Mn", "Zs", "Ll"))))
def test_normalization_is_idempotent(typed):
    once = text.normalize(typed)

    assert text.normalize(once) == once


@given(st.text(st.characters(categories=("Cs", "Cf", "Cc", "Mn", "Zs", "Ll"))))
def test_normalized_text_is_valid_utf_8(typed):
    assert text.normalize(typed).encode("utf-8").decode("utf-8") == text.normalize(typed)


@given(st.text(" a!&\t\n", max_size=8))
def test_ordinary_text_is_normalized_like_any_other(typed):
    # A zero-width space is removed, but no ordinary text has one.
    assert text.normalize(typed) == text.normalize(f"{typed}\u200b")


def test_title_is_one_line():
    assert text.normalize_line(" Oak \r\n table\n") == "Oak table"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Oak TABLE!", "oak table"),
        ("Straße", "STRASSE"),
        ("Bed - king size \U0001f6cf", "bed, king size"),
        ("ｓｏｆａ", "Sofa"),
    ],
)
def test_casefold_equates_equal_meaning(one, other):
    assert text.casefold_text(one) == text.casefold_text(other)


def test_casefold_distinguishes_other_meaning():
    assert text.casefold_text("oak table 2") != text.casefold_text("oak table 3")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Home &amp; Garden", "Home & Garden"),
        ("Home &amp;amp;amp; Garden", "Home & Garden"),
        ("5&#39; x 3&quot;", "5' x 3\""),
        ("caf&eacute;&nbsp;&lt;3", "caf\u00e9 <3"),
        ("&#x26;lt;", "<"),
        ("R&B & soul", "R&B & soul"),
    ],
)
def test_html_entities_are_unescaped(typed, meant):
    assert text.normalize(typed) == meant
    assert text.normalize(meant) == meant
