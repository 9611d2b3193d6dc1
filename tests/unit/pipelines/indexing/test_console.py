import pytest

from fb_marketplace.pipelines.indexing.console import lines


def estimates(value, *names):
    return {
        name: {"value": value, "low": value - 0.1, "high": value + 0.1, "chance": 0.0125}
        for name in names
    }


@pytest.fixture
def told():
    """Lines of a search that is measured in three galleries, beside one other embedding."""
    hits = ("same_product_recall_at_1", "same_category_precision_at_10")
    alone = (*hits, "same_product_map")
    return lines(
        {
            "all_photos": estimates(0.5, *hits),
            "test_photos": estimates(0.75, *alone),
            "validation_photos": estimates(0.625, *alone),
            "baselines": {
                "test_photos": {"pixels": estimates(0.25, *alone)},
                "validation_photos": {"pixels": estimates(0.125, *alone)},
            },
            "gains": {
                "test_photos": {"pixels": estimates(0.5, *alone)},
                "validation_photos": {"pixels": estimates(0.5, *alone)},
            },
        }
    )


def part(told, gallery):
    """The lines of one gallery."""
    first = next(place for place, line in enumerate(told) if line.startswith(gallery))
    rest = told[first + 1 :]
    ends = [place for place, line in enumerate(rest) if not line.startswith(" ")]
    return [line.strip() for line in rest[: ends[0] if ends else None]]


def test_what_is_served_is_told_by_what_its_hits_give_and_by_chance(told):
    assert part(told, "all_photos") == [
        "encoder: R@1 0.500 [0.400, 0.600], P@10 0.500 [0.400, 0.600]",
        "a random order: R@1 0.0125, P@10 0.0125",
    ]


def test_each_other_embedding_is_told_with_what_is_gained_over_it(told):
    found = part(told, "test_photos")

    assert found[0].startswith("encoder: R@1 0.750 [0.650, 0.850], mAP 0.750")
    assert found[2].startswith("pixels: R@1 0.250 [0.150, 0.350], mAP 0.250")
    assert found[3].startswith("encoder - pixels: R@1 +0.500 [+0.400, +0.600], mAP +0.500")


def test_the_photos_that_choices_are_made_on_have_lines_of_their_own(told):
    assert part(told, "validation_photos")[0].startswith("encoder: R@1 0.625")
