"""Options of Lance's own S3 client."""

import os
from typing import Final

from fb_marketplace_serving.storage.urls import is_s3

LANCE_DEFAULTS: Final = {
    "connect_timeout": "5s",
    "read_timeout": "5s",
    "timeout": "120s",
    "client_max_retries": "8",
    "client_retry_timeout": "4",
}
"""Options of Lance's own S3 client.

The client retries 5xx responses and, if a retry is safe, failed connections, with jitter. By default it
limits only the number of attempts. If the store hangs, a request then makes ten attempts of 30 s each, and
a listing makes sixty (measured with ``fault_proxy.py`` in the tests). With these options, failed requests
are retried for 4 s, and a request that hangs (5 s without a byte) is retried once. After that, the
pipelines repeat the operation. ``timeout`` is long because it covers the upload of a part.
"""


def lance_options(url: str) -> dict[str, str] | None:
    """Return the options of Lance's S3 client for a URL; None for a local folder.

    Lance reads credentials like every AWS client. But it ignores ``AWS_ENDPOINT_URL_S3``, and by default it
    rejects ``http://`` endpoints.
    """
    if not is_s3(url):
        return None
    options = dict(LANCE_DEFAULTS)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options["aws_endpoint"] = endpoint
        options["allow_http"] = str(endpoint.startswith("http://")).lower()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        options["aws_region"] = region
    return options
