"""What errors of stores and disks mean, whoever raised them."""

import errno

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from fb_marketplace.storage.error_advice import advice, one_line


def answered(code):
    return ClientError({"Error": {"Code": code, "Message": "m"}}, "PutObject")


def raised_from(error, *causes):
    for cause in causes:
        error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (answered("ExpiredToken"), "expired"),
        (answered("SignatureDoesNotMatch"), "refuses the key"),
        (answered("AccessDenied"), "may not do that"),
        (answered("NoSuchBucket"), "no such bucket"),
        (answered("SlowDown"), "too busy"),
        (answered("RequestTimeTooSkewed"), "clock"),
        (NoCredentialsError(), "no credentials"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), "cannot be reached"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError("LanceError(IO): ... No space left on device (os error 28)"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written to"),
        (ValueError("status 403: <Error><Code>InvalidAccessKeyId</Code>"), "refuses the key"),
    ],
)
def test_an_error_is_told_by_what_it_means_wherever_it_was_wrapped(error, told):
    assert told in advice(error)
    assert told in advice(raised_from(RuntimeError("could not save"), error))


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), FileNotFoundError("here")])
def test_an_error_of_ours_means_nothing_to_a_store(error):
    assert advice(error) is None


def test_a_mistake_of_ours_made_while_an_error_was_handled_is_one():
    mistake = KeyError("ours")
    mistake.__context__ = answered("AccessDenied")

    assert advice(mistake) is None


def test_an_error_that_was_caused_by_itself_is_walked_once():
    error = ValueError("round")
    error.__cause__ = error

    assert advice(error) is None


def test_a_line_is_bounded_and_holds_no_key():
    told = one_line(ValueError("a\nb s3://key:secret@bucket " + "x" * 1000))

    assert told.startswith("a b s3://***@bucket")
    assert len(told) < 500
