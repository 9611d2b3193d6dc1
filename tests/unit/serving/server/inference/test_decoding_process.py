import logging
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from support.files.image_bytes import flat_webp, picture, png, written

from fb_marketplace_serving.imaging.canonical import Limits, PhotoError, canonicalize
from fb_marketplace_serving.server.inference import decoding_process
from fb_marketplace_serving.server.inference.decoding_process import (
    DecoderError,
    DecodingProcess,
)

TIMEOUT = 30.0
LIMITS = Limits(max_bytes=2_000_000, max_pixels=1_000_000)


@pytest.fixture
def decoder():
    decoder = DecodingProcess(LIMITS, TIMEOUT)
    yield decoder
    decoder.close()


def children():
    return psutil.Process().children()


def start(decoder):
    """Start the process of a decoder, and return it."""
    before = children()
    decoder.canonicalize(written(picture(), "JPEG"))
    (process,) = (child for child in children() if child not in before)
    return process


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
    data, process = written(picture(), "JPEG"), start(decoder)

    process.kill()
    time.sleep(0.1)

    assert decoder.canonicalize(data) == canonicalize(data, LIMITS)


@pytest.mark.parametrize(
    ("program", "message", "count"),
    [("/bin/false", "photo decoder ended", 2), ("/none", "photo decoder cannot be started", 1)],
)
def test_failing_process_is_logged(decoder, monkeypatch, caplog, program, message, count):
    monkeypatch.setattr("sys.executable", program)

    with caplog.at_level(logging.ERROR, "fb_serve"), pytest.raises(DecoderError):
        decoder.canonicalize(b"photo")

    assert caplog.messages == [message] * count


def test_return_code_is_logged(decoder, monkeypatch, caplog):
    monkeypatch.setattr("sys.executable", "/bin/false")

    with caplog.at_level(logging.ERROR, "fb_serve"), pytest.raises(DecoderError):
        decoder.canonicalize(b"photo")

    assert caplog.records[0].fields["return_code"] == 1


def test_process_does_not_import_from_the_working_directory(decoder, monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)

    assert decoder.canonicalize(written(picture(), "JPEG"))


def test_stuck_process_is_killed_after_the_timeout(decoder, monkeypatch, caplog):
    process = start(decoder)
    process.suspend()

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "fb_serve"):
        patch.setattr(decoder, "_timeout", 0.2)
        with pytest.raises(DecoderError, match=r"within 0\.2 s"):
            decoder.canonicalize(b"photo")

    assert not process.is_running()
    assert len(caplog.messages) == 1
    assert decoder.canonicalize(written(picture(), "JPEG"))


def test_unexpected_error_of_the_process_is_raised():
    decoder = DecodingProcess(Limits(max_bytes="many"), TIMEOUT)

    with pytest.raises(RuntimeError, match="TypeError"):
        decoder.canonicalize(b"photo")

    decoder.close()


def test_photo_after_an_interrupted_one_is_not_mixed_up(decoder, monkeypatch):
    photos = [written(picture((size, size)), "JPEG") for size in (300, 600)]
    decoder.canonicalize(photos[0])

    def fail(_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(decoding_process, "_read", fail)
        with pytest.raises(MemoryError):
            decoder.canonicalize(photos[0])

    assert decoder.canonicalize(photos[1]) == canonicalize(photos[1], LIMITS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes if memory is short")
def test_process_is_ended_first_if_memory_is_short(decoder):
    process = start(decoder)

    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() == "1000"


def test_close_ends_an_idle_process(decoder):
    process = start(decoder)

    decoder.close()

    assert not process.is_running()  # nor a zombie


def test_closed_decoder_starts_no_process(decoder):
    decoder.close()
    before = children()

    with pytest.raises(DecoderError, match="shutting down"):
        decoder.canonicalize(b"photo")

    assert children() == before


def test_close_ends_the_process_while_it_decodes():
    before = children()
    decoder, errors = DecodingProcess(Limits(), TIMEOUT), []
    decoder.canonicalize(written(picture(), "JPEG"))

    def decode():
        try:
            decoder.canonicalize(flat_webp(4000, 4000))
        except DecoderError as error:
            errors.append(error)

    thread = threading.Thread(target=decode)
    thread.start()
    decoder.close()
    thread.join(5)

    assert not thread.is_alive()
    assert len(errors) == 1
    assert children() == before  # not even a zombie
