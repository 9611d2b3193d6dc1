import pytest

from fb_marketplace_serving.search.filters import is_under


@pytest.mark.parametrize("path", ["Home", "Home / Chairs", "Home / Chairs / Oak"])
def test_a_path_lies_below_each_of_its_beginnings(path):
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
def test_a_path_that_only_begins_with_the_same_letters_lies_elsewhere(path, prefix):
    assert not is_under(path, prefix)
