import pytest

from fb_marketplace.evaluation.retrieval_metrics import NDCG
from fb_marketplace.pipelines.ranking.console import lines


def estimate(value, cases=1200):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "cases": cases, "groups": 20}


def measures(methods, gains):
    return {
        NDCG: {
            "methods": {name: estimate(value) for name, value in methods.items()},
            "best_source": None,
            "gains": {
                name: estimate(value) | {"share": share} for name, (value, share) in gains.items()
            },
        },
        "recall_at_10": {
            "methods": {name: estimate(value / 2) for name, value in methods.items()},
            "best_source": None,
            "gains": {},
        },
    }


@pytest.fixture
def told():
    return lines(
        {
            "listings": 1603,
            "words_to_pictures": {
                "recall_at_10": estimate(0.4),
                "in_category": estimate(0.1),
                "times": 4.04,
                "photos": 2716,
            },
            "searches": {
                "title": measures(
                    {"ranker": 0.8, "fusion": 0.6, "bm25": 0.7},
                    {"fusion": (0.2, 1 / 3), "bm25": (0.1, 1 / 7)},
                ),
                "photo": measures({"ranker": 0.5, "fusion": 0.0}, {"fusion": (0.5, None)}),
                "all": measures({"ranker": 0.5, "fusion": 0.6}, {"fusion": (-0.1, -1 / 6)}),
            },
        }
    )


def test_it_is_said_among_how_many_listings_they_were_found(told):
    assert "1,603" in told[0]


def test_each_kind_has_a_line_for_each_method_with_both_measures(told):
    assert told[1].startswith("title, 1,200 searches")
    assert told[2] == "  ranker: 0.800 [0.700, 0.900], 0.400 [0.300, 0.500]"
    assert told[4] == "  words: 0.700 [0.600, 0.800], 0.350 [0.250, 0.450]"


def test_gains_and_losses_have_a_sign_an_interval_and_a_share(told):
    assert told[5] == "  ranker - fusion: +0.200 [+0.100, +0.300] (+33.3%)"
    assert told[6] == "  ranker - words: +0.100 [+0.000, +0.200] (+14.3%)"
    assert told[-2] == "  ranker - fusion: -0.100 [-0.200, +0.000] (-16.7%)"


def test_a_gain_over_nothing_has_no_share(told):
    assert told[10] == "  ranker - fusion: +0.500 [+0.400, +0.600]"


def test_the_last_line_says_how_well_words_find_pictures(told):
    assert told[-1].startswith("titles among 2,716 photos")
    assert "0.400 [0.300, 0.500], 4.0 times" in told[-1]
    assert told[-1].endswith("0.100 [0.000, 0.200]")
    assert len(told) == 16
