import threading

import psutil
import pytest
from support.files.image_bytes import flat_webp, picture, png, written

from fb_marketplace_serving.imaging.canonical import Limits, PhotoError, canonicalize
from fb_marketplace_serving.server.inference.decoding_process import DecodingProcess

LIMITS = Limits(max_bytes=2_000_000, max_pixels=1_000_000)


@pytest.fixture
def decoder():
    decoder = DecodingProcess(LIMITS)
    yield decoder
    decoder.close()


def children():
    return psutil.Process().children()


@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
def test_photo_is_converted_as_in_this_process(decoder, format_):
    data = written(picture(), format_)

    assert decoder.canonicalize(data) == canonicalize(data, LIMITS)


@pytest.mark.parametrize(
    "data", [b"", b"no photo", png(1001, 1001), written(picture(), "JPEG")[:-900]]
)
def test_rejected_photo_has_the_same_error(decoder, data):
    with pytest.raises(PhotoError) as expected:
        canonicalize(data, LIMITS)
    with pytest.raises(PhotoError) as error:
        decoder.canonicalize(data)

    assert (error.value.reason, error.value.detail) == (
        expected.value.reason,
        expected.value.detail,
    )


def test_ended_process_is_restarted(decoder):
    data, before = written(picture(), "JPEG"), children()
    jpeg = decoder.canonicalize(data)
    (process,) = (child for child in children() if child not in before)

    process.kill()
    process.wait()

    assert decoder.canonicalize(data) == jpeg


def test_photo_that_ends_the_process_twice_is_rejected(decoder, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")

    with pytest.raises(PhotoError, match="undecodable"):
        decoder.canonicalize(b"photo")


def test_close_ends_the_process_while_it_decodes():
    decoder, errors = DecodingProcess(Limits()), []
    decoder.canonicalize(written(picture(), "JPEG"))

    def decode():
        try:
            decoder.canonicalize(flat_webp(4000, 4000))
        except PhotoError as error:
            errors.append(error)

    thread = threading.Thread(target=decode)
    thread.start()
    decoder.close()
    thread.join(5)

    assert not thread.is_alive()
    assert len(errors) == 1
