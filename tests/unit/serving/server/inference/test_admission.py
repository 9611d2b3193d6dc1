import pytest

from fb_marketplace_serving.server.inference.admission import (
    UPLOADS_PER_SLOT,
    Admission,
    CapacityExceeded,
)


def test_requests_up_to_the_limit_are_admitted():
    admission = Admission(2)

    with admission.slot(), admission.slot():
        with (
            pytest.raises(CapacityExceeded, match=r"\b2\b"),
            admission.slot(),
        ):
            pass
        assert admission.in_flight == 2
    assert admission.in_flight == 0


def test_failed_request_frees_its_slot():
    admission = Admission(1)
    with pytest.raises(RuntimeError), admission.slot():
        raise RuntimeError

    with admission.slot():
        assert admission.in_flight == 1


def test_upload_takes_no_slot():
    admission = Admission(1)

    with admission.upload(), admission.upload(), admission.slot():
        assert (admission.in_flight, admission.uploads) == (1, 2)


def test_upload_is_rejected_if_all_slots_are_taken():
    admission = Admission(1)

    with admission.slot(), pytest.raises(CapacityExceeded), admission.upload():
        pass


def test_uploads_are_limited():
    admission = Admission(1)
    coming_in = [admission.upload() for _ in range(UPLOADS_PER_SLOT)]
    for upload in coming_in:
        upload.__enter__()

    with pytest.raises(CapacityExceeded, match=rf"\b{UPLOADS_PER_SLOT}\b"), admission.upload():
        pass
