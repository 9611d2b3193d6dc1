import pytest

from fb_marketplace.pipelines.vision.evaluation.console import lines


def estimate(value, cases=40):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "cases": cases, "groups": 20}


def abstention(error):
    return {"coverage": estimate(0.6), "error": error, "error_of_all": estimate(0.3)}


@pytest.fixture
def measured():
    """What the test split gives: photos are sure enough to be answered, listings are not."""
    found = {"photos_ece": estimate(0.05), "photos_ece_uncalibrated": estimate(0.21)}
    for place, of in enumerate(("photos", "products", "products_with_text")):
        found[f"{of}_top1"] = estimate(0.5 + place / 10, cases=1200 + place)
        found[f"{of}_top1_gain_over_frozen"] = estimate(0.02)
        found[f"{of}_top1_commonest_category"] = estimate(0.125)
    shares = {"photos": abstention(estimate(0.04)), "products_with_text": abstention(None)}
    return found | {"abstention": shares}


def test_each_measure_is_told_with_interval_count_gain_and_what_it_has_to_beat(measured):
    told = lines(measured)[1:4]

    names = ("photos ", "products, by their photos ", "products, photos and text ")
    assert all(line.startswith(name) for name, line in zip(names, told, strict=True))
    assert "0.500 [0.400, 0.600] of 1,200; gain +0.020 [-0.080, +0.120]" in told[0]
    assert "0.700 [0.600, 0.800] of 1,202" in told[2]
    assert all(line.endswith("always the commonest 0.125") for line in told)


def test_calibration_is_told_after_and_before(measured):
    assert "0.050 [-0.050, 0.150], debiased; 0.210 before" in lines(measured)[4]


def test_what_is_answered_is_told_with_how_often_it_is_wrong(measured):
    (told,) = (line for line in lines(measured) if line.startswith("photos: "))

    assert told == (
        "photos: answers 0.600 [0.500, 0.700], of which wrong 0.040 [-0.060, 0.140]; of all 0.300"
    )


def test_where_nothing_is_answered_that_is_told(measured):
    assert lines(measured)[-1] == "products, photos and text: no answer is sure enough"
