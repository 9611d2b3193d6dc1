import numpy as np

from fb_marketplace.evaluation.sampling import sample_rows

IDS = [f"listing-{number}" for number in range(5_000)]


def test_sample_has_the_size_and_ascending_rows():
    rows = sample_rows(IDS, 500, seed=0)

    assert len(rows) == 500
    assert (np.diff(rows) > 0).all()


def test_all_rows_are_sampled_if_there_are_no_more():
    assert sample_rows(IDS[:3], 3, seed=0).tolist() == [0, 1, 2]


def test_sample_is_spread_over_all_rows():
    rows = sample_rows(IDS, 1_000, seed=0)

    # A fifth of each thousand, within five standard deviations.
    assert np.abs(np.bincount(rows // 1_000) - 200).max() < 5 * np.sqrt(1_000 * 0.2 * 0.8)


def test_other_seed_draws_another_sample():
    common = np.intersect1d(sample_rows(IDS, 500, seed=0), sample_rows(IDS, 500, seed=1))

    assert len(common) < 100


def test_sample_depends_on_ids_and_not_on_their_order():
    backward = IDS[::-1]

    sample = {IDS[row] for row in sample_rows(IDS, 500, seed=0)}

    assert {backward[row] for row in sample_rows(backward, 500, seed=0)} == sample


def test_sample_hardly_changes_if_a_hundredth_of_the_rows_changes():
    today = IDS[50:] + [f"new-{number}" for number in range(50)]

    before = {IDS[row] for row in sample_rows(IDS, 500, seed=0)}
    after = {today[row] for row in sample_rows(today, 500, seed=0)}

    assert len(before & after) > 480
