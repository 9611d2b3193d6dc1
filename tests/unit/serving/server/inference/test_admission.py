import asyncio
import time

import pytest

from fb_marketplace_serving.server.inference.admission import (
    PAUSE,
    PROMPT_ANSWERS,
    Admission,
    CapacityExceeded,
    ClientShareExceeded,
    Pace,
)


def test_requests_up_to_the_limit_are_admitted():
    admission = Admission(2)

    with admission.slot("a"), admission.slot("b"):
        with pytest.raises(CapacityExceeded, match=r"\b2\b"), admission.slot("c"):
            pass
        assert admission.taken == 2
    assert admission.taken == 0


def test_failed_request_frees_its_slot():
    admission = Admission(1)
    with pytest.raises(RuntimeError), admission.slot("a"):
        raise RuntimeError

    with admission.slot("a"):
        assert admission.taken == 1


def test_one_client_cannot_take_all_slots():
    admission = Admission(4, client_share=0.75)

    with admission.slot("greedy"), admission.slot("greedy"), admission.slot("greedy"):
        with pytest.raises(ClientShareExceeded, match=r"\b3\b"), admission.slot("greedy"):
            pass
        with admission.slot("honest"):
            assert admission.taken == 4
    with admission.slot("greedy"):
        assert admission.taken == 1


def test_share_of_one_slot_is_one_slot():
    with Admission(1, client_share=0.5).slot("a"):
        pass


def test_client_with_many_refusals_is_slowed_down():
    async def seconds():
        pace, times = Pace(), {}
        for client, answers in (("greedy", PROMPT_ANSWERS + 1), ("greedy", 1), ("other", 1)):
            started = time.monotonic()
            for _ in range(answers):
                await pace.wait(client)
            times.setdefault(client, []).append(time.monotonic() - started)
        return times

    times = asyncio.run(seconds())

    assert min(times["greedy"]) >= PAUSE
    assert times["other"][0] < PAUSE


def test_slowed_client_is_answered_at_once_after_a_second():
    async def later():
        loop, pace = asyncio.get_running_loop(), Pace()
        for _ in range(PROMPT_ANSWERS):
            await pace.wait("greedy")
        clock = loop.time
        loop.time = lambda: clock() + 1
        started = time.monotonic()
        await pace.wait("greedy")
        return time.monotonic() - started

    assert asyncio.run(later()) < PAUSE
