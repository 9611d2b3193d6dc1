"""Advice on errors of stores and disks, from any library."""

import errno

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from fb_marketplace.storage.error_advice import advice, one_line


def client_error(code):
    return ClientError({"Error": {"Code": code, "Message": "m"}}, "PutObject")


def raised_from(error, *causes):
    for cause in causes:
        error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("ExpiredToken"), "expired"),
        (client_error("SignatureDoesNotMatch"), "refuses the key"),
        (client_error("AccessDenied"), "lack a permission"),
        (client_error("NoSuchBucket"), "bucket does not exist"),
        (client_error("SlowDown"), "too busy"),
        (client_error("RequestTimeTooSkewed"), "clock"),
        (NoCredentialsError(), "no credentials"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), "cannot be reached"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError("LanceError(IO): ... No space left on device (os error 28)"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "is read-only"),
        (ValueError("status 403: <Error><Code>InvalidAccessKeyId</Code>"), "refuses the key"),
    ],
)
def test_advice_finds_the_cause_of_wrapped_errors(error, expected):
    assert expected in advice(error)
    assert expected in advice(raised_from(RuntimeError("could not save"), error))


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), FileNotFoundError("here")])
def test_advice_for_other_errors_is_none(error):
    assert advice(error) is None


def test_advice_for_bug_in_error_handling_is_none():
    mistake = KeyError("ours")
    mistake.__context__ = client_error("AccessDenied")

    assert advice(mistake) is None


def test_advice_for_circular_cause_ends():
    error = ValueError("round")
    error.__cause__ = error

    assert advice(error) is None


def test_one_line_is_bounded_and_redacted():
    line = one_line(ValueError("a\nb s3://key:secret@bucket " + "x" * 1000))

    assert line.startswith("a b s3://***@bucket")
    assert len(line) < 500
