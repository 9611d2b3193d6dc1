import pytest

from fb_marketplace_serving.search.listings.filters import is_under


@pytest.mark.parametrize("path", ["Home", "Home / Chairs", "Home / Chairs / Oak"])
def test_path_is_below_each_of_its_prefixes(path):
    assert is_under(path, "Home")
    assert is_under(path, path)


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("Homes", "Home"),
        ("Home / Chairs and tables", "Home / Chairs"),
        ("Home", "Home / Chairs"),
        ("Arts / Home", "Home"),
        ("Home", ""),
    ],
)
def test_path_with_common_letters_is_not_below(path, prefix):
    assert not is_under(path, prefix)
