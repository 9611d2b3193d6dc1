import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fb_marketplace.pipelines.cleaning import parsing, text

TYPED = st.text() | st.text("aB /,>\uff0f\uff0c\uff1e\u0338\u200b\u00a0\n\r\ud83d", max_size=20)
SEPARATORS = st.sampled_from([" / ", "/", " > ", ">", " ", "::"])


@given(TYPED, SEPARATORS)
@example("Home\uff0fGarden", " / ")
@example("a>\u0338b", " > ")
@example("a> \u0338b", ">")
@example("\u0300\r\u0300", " / ")
def test_joined_levels_split_into_the_same_levels(path, separator):
    once = parsing.category_levels(path, separator)

    assert parsing.category_levels(separator.join(once), separator) == once


@given(TYPED, SEPARATORS)
def test_level_is_not_blank_and_has_no_separator(path, separator):
    for level in parsing.category_levels(path, separator):
        assert level
        assert level == text.normalize_line(level)
        assert (separator.strip() or separator) not in level


@given(st.lists(st.text("abc &", min_size=1).filter(str.strip), max_size=6))
def test_no_level_of_path_is_lost(names):
    levels = tuple(" ".join(name.split()) for name in names)

    assert parsing.category_levels(" / ".join(names), " / ") == levels


@given(TYPED)
@example("Leeds,")
@example(", Kent")
@example(",")
def test_joined_location_splits_into_the_same_parts(typed):
    parts = parsing.parse_location(typed, ",")

    if parts.county is not None:
        assert parsing.parse_location(f"{parts.town or ''}, {parts.county}", ",") == parts
    elif parts.town is not None:
        assert parsing.parse_location(f"{parts.town},", ",") == parts


@given(TYPED)
def test_part_of_location_is_not_blank_or_none(typed):
    parts = parsing.parse_location(typed, ",")

    for part in parts:
        assert part is None or part == text.normalize_line(part) != ""
    assert "," not in (parts.county or "")


@pytest.mark.parametrize("nothing", ["", " ", ",", " , ", "\u200b", "\ufffd"])
def test_blank_location_has_no_parts(nothing):
    assert parsing.parse_location(nothing, ",") == (None, None)
