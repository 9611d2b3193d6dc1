import os
import time

import pytest

from fb_marketplace.compute.parallel import available_cores, map_batches


def slow_for_the_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number * 10, os.getpid()


def refuse_the_third(number):
    if number == 2:
        raise ValueError("the third")
    return number


def test_results_are_in_order():
    actual = list(map_batches(slow_for_the_first, range(6), processes=2))

    assert [result for result, _ in actual] == [0, 10, 20, 30, 40, 50]
    assert os.getpid() not in {process for _, process in actual}


def test_one_process_is_the_current_one():
    assert {process for _, process in map_batches(slow_for_the_first, [1, 2], processes=1)} == {
        os.getpid()
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_worker_error_is_raised_to_the_caller(processes):
    results = map_batches(refuse_the_third, range(6), processes)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)


@pytest.mark.parametrize(("processes", "ahead"), [(1, 1), (2, 4)])
def test_at_most_two_batches_per_process_are_read_ahead(processes, ahead):
    drawn = []

    def source():
        for number in range(50):
            drawn.append(number)
            yield number

    results = map_batches(refuse_the_third, source(), processes)

    assert drawn == []
    next(results)
    assert len(drawn) <= ahead
    next(results)
    assert len(drawn) <= ahead + 1
    results.close()
    assert len(drawn) <= ahead + 1


@pytest.mark.parametrize("processes", [1, 2])
def test_no_batches_give_no_results(processes):
    assert list(map_batches(refuse_the_third, [], processes)) == []


def test_cpu_count_is_at_least_one():
    assert available_cores() >= 1
