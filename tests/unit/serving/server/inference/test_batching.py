import asyncio
import contextlib
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from fb_marketplace_serving.encoders.image import Encoding
from fb_marketplace_serving.server.inference import batching
from fb_marketplace_serving.server.inference.batching import Batcher


class Recorder:
    """Encodes a photo to its first number; keeps the size of each batch, and can be held up."""

    def __init__(self):
        self.batches = []
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, photos):
        assert self.may_go.wait(10)
        self.batches.append(len(photos))
        first = photos.reshape(len(photos), -1)[:, :1].astype(np.float32)
        return Encoding(first, first + 1)


@pytest.fixture
def encode():
    return Recorder()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as executor:
        yield executor


def photo(number):
    return np.full((2, 2, 3), number, np.uint8)


async def decoded(number, after=0.0):
    await asyncio.sleep(after)
    return photo(number)


async def ask(batcher, number, after=0.0):
    return await batcher.encode(asyncio.ensure_future(decoded(number, after)))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_each_photo_gets_its_own_result(encode, pool):
    async def run():
        batcher = Batcher(encode, pool, workers=2, max_batch=4, max_wait=0.001)
        return await asyncio.gather(*(ask(batcher, number) for number in range(50)))

    answers = asyncio.run(run())

    assert [float(answer.probabilities[0]) for answer in answers] == list(range(50))
    assert [float(answer.embedding[0]) for answer in answers] == list(range(1, 51))
    assert sum(encode.batches) == 50
    assert max(encode.batches) <= 4


def test_requests_during_inference_form_next_batch(encode, pool):
    async def run():
        batcher = Batcher(encode, pool, workers=1, max_batch=8)
        encode.may_go.clear()
        first = asyncio.create_task(ask(batcher, 0))
        await until(lambda: batcher.busy)
        others = [asyncio.create_task(ask(batcher, number)) for number in range(1, 6)]
        await until(lambda: batcher.queued == 5)
        encode.may_go.set()
        return await asyncio.gather(first, *others)

    answers = asyncio.run(run())

    assert encode.batches == [1, 5]
    assert [answer.batch_size for answer in answers] == [1, 5, 5, 5, 5, 5]
    assert answers[5].wait_seconds > 0


def test_queue_is_shared_evenly_between_workers(encode, pool):
    async def run():
        batcher = Batcher(encode, pool, workers=2, max_batch=8, max_wait=10)
        # All are on their way together, so that all are there when the last one starts the batches.
        await asyncio.gather(*(ask(batcher, number) for number in range(6)))

    asyncio.run(run())

    assert sorted(encode.batches) == [3, 3]


def test_batch_waits_briefly_for_pending_uploads(encode, pool):
    async def run(late):
        batcher = Batcher(encode, pool, workers=1, max_batch=8, max_wait=0.2)
        await asyncio.gather(ask(batcher, 0), ask(batcher, 1, late))

    asyncio.run(run(0.02))
    assert encode.batches == [2]

    encode.batches.clear()
    asyncio.run(run(1.0))
    assert encode.batches == [1, 1]


def test_lone_photo_is_encoded_at_once(encode, pool):
    async def run():
        async with asyncio.timeout(5):
            return await ask(Batcher(encode, pool, max_wait=60), 7)

    assert float(asyncio.run(run()).probabilities[0]) == 7


def test_cancelled_request_is_not_encoded(encode, pool):
    async def run():
        batcher = Batcher(encode, pool, workers=1)
        encode.may_go.clear()
        first = asyncio.create_task(ask(batcher, 0))
        await until(lambda: batcher.busy)
        given_up = asyncio.create_task(ask(batcher, 1))
        await until(lambda: batcher.queued)
        given_up.cancel()
        await asyncio.wait([given_up])
        encode.may_go.set()
        await first
        return await ask(batcher, 2)

    assert float(asyncio.run(run()).probabilities[0]) == 2
    assert encode.batches == [1, 1]


def test_encoder_error_fails_only_its_batch(pool):
    def encode(photos):
        if photos[0, 0, 0, 0] == 9:
            raise RuntimeError("out of order")
        return Encoding(
            np.zeros((len(photos), 1), np.float32), np.zeros((len(photos), 1), np.float32)
        )

    async def run():
        batcher = Batcher(encode, pool)
        with pytest.raises(RuntimeError, match="out of order"):
            await ask(batcher, 9)
        return await ask(batcher, 1)

    assert asyncio.run(run()).batch_size == 1


def test_undecodable_photo_blocks_no_other(encode, pool):
    async def broken():
        raise ValueError("no photo")

    async def run():
        batcher = Batcher(encode, pool, max_wait=60)
        with pytest.raises(ValueError, match="no photo"):
            await batcher.encode(asyncio.ensure_future(broken()))
        async with asyncio.timeout(5):
            await ask(batcher, 1)

    asyncio.run(run())


async def decode_and_encode(batcher, *numbers):
    """Send photos together; an exception is raised by decoding."""

    def decode(number):
        if isinstance(number, Exception):
            raise number
        return photo(number)

    calls = (batcher.decode_and_encode(partial(decode, number)) for number in numbers)
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("has_worker_per_thread", [False, True])
def test_photos_are_decoded_and_encoded(encode, pool, has_worker_per_thread):
    async def run():
        batcher = Batcher(
            encode, pool, workers=4, max_batch=2, has_worker_per_thread=has_worker_per_thread
        )
        return await decode_and_encode(batcher, *range(50))

    answers = asyncio.run(run())

    assert [float(answer.probabilities[0]) for answer in answers] == list(range(50))
    assert sum(encode.batches) == 50
    assert max(encode.batches) <= 2


def test_undecodable_photo_of_a_batch_fails_alone(encode, pool, monkeypatch):
    monkeypatch.setattr(batching, "_MAX_DECODE_SECONDS", 60)

    async def run():
        batcher = Batcher(encode, pool, max_batch=4, has_worker_per_thread=True)
        return await decode_and_encode(batcher, 0, 1, ValueError("no photo"), 3)

    first, second, failed, last = asyncio.run(run())

    assert [float(answer.embedding[0]) for answer in (first, second, last)] == [1, 2, 4]
    assert (second.batch_size, last.batch_size) == (3, 3)
    assert isinstance(failed, ValueError)


class SlowPhoto:
    """A photo whose decoding is held up."""

    def __init__(self):
        self.is_begun = threading.Event()
        self.may_go = threading.Event()

    def decode(self):
        self.is_begun.set()
        assert self.may_go.wait(10)
        return photo(1)


def test_fast_photo_is_not_decoded_after_slow_one_if_a_worker_is_free(encode, pool):
    async def run():
        batcher = Batcher(encode, pool, workers=2, max_batch=2, has_worker_per_thread=True)
        busy = [SlowPhoto(), SlowPhoto()]
        first = [asyncio.create_task(batcher.decode_and_encode(it.decode)) for it in busy]
        await until(lambda: all(it.is_begun.is_set() for it in busy))
        await asyncio.sleep(0.03)  # Then they take no further photo.
        slow = SlowPhoto()
        answer = asyncio.create_task(batcher.decode_and_encode(slow.decode))
        fast = asyncio.create_task(batcher.decode_and_encode(lambda: photo(7)))
        await until(lambda: batcher.queued == 2)
        for it in busy:
            it.may_go.set()
        await asyncio.gather(*first)
        try:
            async with asyncio.timeout(5):
                assert float((await fast).probabilities[0]) == 7
            assert not answer.done()
        finally:
            slow.may_go.set()
        await answer

    asyncio.run(run())


def test_undecodable_photo_does_not_wait_for_its_batch(encode, pool, monkeypatch):
    def reject():
        raise ValueError("no photo")

    async def run():
        batcher = Batcher(encode, pool, max_batch=2, has_worker_per_thread=True)
        slow = SlowPhoto()
        encode.may_go.clear()
        first = SlowPhoto()
        answers = [asyncio.create_task(batcher.decode_and_encode(first.decode))]
        await until(first.is_begun.is_set)
        monkeypatch.setattr(batching, "_MAX_DECODE_SECONDS", 0)
        first.may_go.set()
        await asyncio.sleep(0.05)  # Then it is in the encoder.
        monkeypatch.setattr(batching, "_MAX_DECODE_SECONDS", 60)
        failed = asyncio.create_task(batcher.decode_and_encode(reject))
        answers.append(asyncio.create_task(batcher.decode_and_encode(slow.decode)))
        await until(lambda: batcher.queued == 2)
        encode.may_go.set()
        try:
            async with asyncio.timeout(5):
                with pytest.raises(ValueError, match="no photo"):
                    await failed
        finally:
            slow.may_go.set()
        await asyncio.gather(*answers)

    asyncio.run(run())


def test_cancelled_photo_of_a_running_batch_is_not_encoded(encode, pool, monkeypatch):
    monkeypatch.setattr(batching, "_MAX_DECODE_SECONDS", 60)

    async def run():
        batcher = Batcher(encode, pool, max_batch=2, has_worker_per_thread=True)
        given_up = asyncio.create_task(batcher.decode_and_encode(lambda: photo(7)))
        slow = SlowPhoto()
        answer = asyncio.create_task(batcher.decode_and_encode(slow.decode))
        await until(slow.is_begun.is_set)
        given_up.cancel()
        await asyncio.wait([given_up])
        slow.may_go.set()
        return await answer

    assert asyncio.run(run()).batch_size == 1
    assert encode.batches == [1]


def test_error_of_decoding_keeps_traceback_of_its_cause(encode, pool):
    def read():
        raise OSError("the file ends early")

    def decode():
        try:
            read()
        except OSError as error:
            raise ValueError("no photo") from error

    async def run():
        await Batcher(encode, pool, has_worker_per_thread=True).decode_and_encode(decode)

    with pytest.raises(ValueError, match="no photo") as raised:
        asyncio.run(run())

    assert "in read" in raised.value.__notes__[0]


@pytest.mark.parametrize("fails_in", ["decoding", "encoding"])
@pytest.mark.parametrize("has_worker_per_thread", [False, True])
def test_failed_photo_is_freed_at_once(pool, has_worker_per_thread, fails_in):
    class NoPhotoError(Exception):
        def __init__(self):
            kept.append(weakref.ref(self))

    def fail():
        try:
            raise OSError("the file ends early")
        except OSError as error:
            raise NoPhotoError from error

    def decode():
        pixels = photo(1)
        kept.append(weakref.ref(pixels))
        if fails_in == "decoding":
            fail()
        return pixels

    def encode(photos):
        fail()

    async def run():
        batcher = Batcher(encode, pool, has_worker_per_thread=has_worker_per_thread)
        with contextlib.suppress(NoPhotoError, RuntimeError):
            await batcher.decode_and_encode(decode)
        # The thread may refer to them for a moment.
        await until(lambda: not any(reference() is not None for reference in kept))

    kept = []
    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()
    assert len(kept) == 2


def test_photo_does_not_wait_for_a_photo_of_other_threads(encode, pool):
    async def run():
        batcher = Batcher(encode, pool, max_batch=2, max_wait=60, has_worker_per_thread=True)
        other = asyncio.create_task(ask(batcher, 1, after=60))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await decode_and_encode(batcher, 7)
        other.cancel()

    asyncio.run(run())

    assert encode.batches == [1]
