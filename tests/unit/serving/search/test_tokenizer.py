from concurrent.futures import ThreadPoolExecutor

import pytest

from fb_marketplace_serving.search.tokenizer import terms, words


def test_words_are_lowercase_letters_and_digits():
    assert words("IKEA's 2-seat SOFA_bed!") == ["ikea", "s", "2", "seat", "sofa", "bed"]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Café crème", "cafe creme"),
        ("cafe\u0301", "café"),
        ("RØDE", "rode"),
        ("Strauß", "strauss"),
        ("Łódź", "lodz"),
        ("Œuvre Ægir", "oeuvre aegir"),
        ("ＳＯＦＡ", "sofa"),
        ("ﬁre 10m²", "fire 10m2"),
        ("İKEA", "ikea"),
    ],
)
def test_unicode_variants_are_the_same_word(written, plain):
    assert words(written) == words(plain)
    assert words(plain)


def test_words_of_other_scripts_are_words():
    assert words("Стол и стул") == ["стол", "и", "стул"]


@pytest.mark.parametrize("text", ["", " \n", "!?—…", "🪑"])
def test_text_without_letters_or_digits_has_no_terms(text):
    assert terms(text) == []


def test_inflected_forms_are_one_term():
    assert terms("chairs Chair chairing") == ["chair"] * 3


def test_terms_keep_order_and_repetition():
    assert terms("red chairs, blue tables, red lamps") == [
        *("red", "chair", "blue"),
        *("tabl", "red", "lamp"),
    ]


def test_many_threads_equal_one_thread():
    texts = [f"running tables {number} happily" for number in range(200)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(terms, texts)) == [terms(text) for text in texts]
