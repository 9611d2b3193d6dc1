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


def test_results_come_in_order_from_other_processes_however_long_each_takes():
    found = list(map_batches(slow_for_the_first, range(6), processes=2))

    assert [result for result, _ in found] == [0, 10, 20, 30, 40, 50]
    assert os.getpid() not in {process for _, process in found}


def test_one_process_is_this_one():
    assert {process for _, process in map_batches(slow_for_the_first, [1, 2], processes=1)} == {
        os.getpid()
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_s_error_reaches_whoever_asked(processes):
    results = map_batches(refuse_the_third, range(6), processes)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)


@pytest.mark.parametrize(("processes", "ahead"), [(1, 1), (2, 4)])
def test_no_more_is_drawn_than_two_batches_a_process(processes, ahead):
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


def test_there_is_a_core_to_work_on():
    assert available_cores() >= 1
