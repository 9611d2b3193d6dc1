"""Secrets of the environment, kept out of logs."""

import logging

import pytest

from fb_marketplace.observability.log_filters import install_redaction, redact


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    created = logging.getLogRecordFactory()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setenv("FB_API_KEYS", "shop:planted-key-one, page:planted-key-two")
    yield
    logging.setLogRecordFactory(created)


def test_secrets_in_environment_are_redacted():
    values = redact("with planted-secret, planted-key-one or planted-key-two, shop")

    assert values == "with ***, *** or ***, shop"


@pytest.mark.parametrize(
    "values",
    [
        "x-amz-security-token:of-a-role",
        "{'X-Amz-Security-Token': b'of-a-role', 'Date': b'now'}",
        "GET https://bucket/key?X-Amz-Security-Token=of-a-role&X-Amz-Date=now",
    ],
    ids=["header", "dict", "url"],
)
def test_session_token_in_request_is_redacted(values):
    assert "of-a-role" not in redact(values)
    assert redact(values).endswith(values[values.index("of-a-role") + len("of-a-role") :])


def test_empty_variable_redacts_nothing(monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")

    assert redact("any words") == "any words"


def test_logs_of_libraries_are_redacted(caplog):
    install_redaction()
    install_redaction()
    with caplog.at_level(logging.DEBUG, "botocore.auth"):
        logging.getLogger("botocore.auth").debug(
            "signing with %s and %r", "planted-secret", {"a": 1}
        )

    assert [record.getMessage() for record in caplog.records] == ["signing with *** and {'a': 1}"]


def test_unformattable_record_raises_nothing(monkeypatch):
    install_redaction()
    monkeypatch.setattr(logging, "raiseExceptions", False)

    logging.getLogger("theirs").warning("%(a)s", {})
