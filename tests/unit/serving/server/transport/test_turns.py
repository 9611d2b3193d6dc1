"""Turns of clients on an event loop."""

import asyncio

from fb_marketplace_serving.server.transport.turns import CALLS_PER_TURN, FairTurns


def run_calls(clients):
    """Return the calls of each turn, as names of clients."""

    async def run():
        turns, current, result = FairTurns(), [], []
        for client in clients:
            turns.run(client, lambda client=client: current.append(client))
        while current:
            result.append("".join(current))
            current.clear()
            await asyncio.sleep(0)
        return result

    return asyncio.run(run())


def test_few_calls_run_at_once():
    assert run_calls("ab") == ["ab"]


def test_calls_of_a_turn_are_limited():
    assert [len(calls) for calls in run_calls("a" * (2 * CALLS_PER_TURN + 1))] == [
        CALLS_PER_TURN,
        CALLS_PER_TURN,
        1,
    ]


def test_clients_take_turns():
    assert run_calls("a" * 10 + "bbc") == ["aaaa", "abca", "baaa", "a"]


def test_call_without_work_takes_no_turn():
    async def run():
        turns, done = FairTurns(1, 100.0), []
        turns.run("a", lambda: None)
        for _ in range(3):
            turns.run("a", lambda: False)
        turns.run("a", lambda: done.append("last"))
        turns._start_turn()
        return done

    assert asyncio.run(run()) == ["last"]


def test_turns_have_pauses():
    async def run():
        loop, turns, times = asyncio.get_running_loop(), FairTurns(1, 0.02), []
        for _ in range(4):
            turns.run("a", lambda: times.append(loop.time()))
        while len(times) < 4:
            await asyncio.sleep(0.01)
        return times

    first, *_, last = asyncio.run(run())

    assert last - first > 3 * 0.02 - 0.005  # less the resolution of the clock


def test_call_that_fails_does_not_stop_the_others():
    done = []

    async def run():
        turns = FairTurns()
        for number in range(CALLS_PER_TURN):
            turns.run("a", lambda number=number: done.append(number))
        turns.run("a", lambda: 1 / 0)
        turns.run("a", lambda: done.append("last"))
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(run())

    assert done == [*range(CALLS_PER_TURN), "last"]
