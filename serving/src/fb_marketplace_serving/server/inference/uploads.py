"""Photo uploads, read within size and time limits."""

import asyncio
from typing import Any, Final

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message

from fb_marketplace_serving.imaging.canonical import PhotoError
from fb_marketplace_serving.server.errors import ApiError
from fb_marketplace_serving.server.transport.multipart import MalformedFormError, read_form_file

_ENVELOPE_BYTES: Final = 64 * 1024
"""Allowance for the rest of a multipart body: boundaries, headers, a few small fields."""

_DRAIN_SECONDS: Final = 0.25
_OVERSIZED_DRAIN_SECONDS: Final = 5.0

FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {
                            "type": "string",
                            "format": "binary",
                            "description": "JPEG, PNG, WebP or AVIF photo; HEIC with the extra heif.",
                        }
                    },
                }
            }
        },
    }
}
"""OpenAPI description of the request body."""


async def read_upload(request: Request, max_bytes: int, seconds: float) -> UploadFile:
    """Read the form field ``image``. Large photos are stored in a temporary file until closed.

    Args:
        request: a request with an unread body.
        max_bytes: maximum size of the photo.
        seconds: maximum duration of the upload.

    Raises:
        PhotoError: the photo is too large.
        HTTPException: there is no photo, or the upload is incomplete or too slow.
    """
    body = _BoundedBody(request, max_bytes)
    try:
        async with asyncio.timeout(seconds):
            image = await read_form_file(
                request.headers.get("content-type", ""),
                Request(request.scope, body.receive).stream(),
                "image",
            )
    except PhotoError:
        if not body.ended:
            await drain_body(request, _OVERSIZED_DRAIN_SECONDS)
        raise
    except MalformedFormError as error:
        raise HTTPException(400, str(error)) from None
    except ClientDisconnect:
        raise HTTPException(400, "Connection closed before the upload completed.") from None
    except TimeoutError:
        raise ApiError(
            408, "body_timeout", f"Upload did not complete within {seconds:g} s."
        ) from None
    if image is not None:
        return image
    raise HTTPException(
        422,
        "Form field `image` is missing or not a file. Example: "
        f"curl -F image=@photo.jpg {request.url.replace(query='')}",
    )


async def drain_body(request: Request, seconds: float = _DRAIN_SECONDS) -> None:
    """Read and discard the rest of a request body.

    If a connection is closed with an unread body, the client does not receive the response.

    Args:
        request: a request with a partly read body.
        seconds: maximum time to spend.
    """
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive()).get("more_body"):
                pass
    except TimeoutError:
        return


class _BoundedBody:
    """Receives a request body up to the size of one photo and its envelope."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self.ended = False
        self._request = request
        self._max_bytes = self._left = max_bytes + _ENVELOPE_BYTES
        self._oversized = PhotoError("oversized", f"more than the {max_bytes:,} bytes allowed")

    async def receive(self) -> Message:
        if _content_length(self._request) > self._max_bytes:
            raise self._oversized
        message = await self._request.receive()
        self.ended = not message.get("more_body")
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._oversized
        return message


def _content_length(request: Request) -> int:
    header = request.headers.get("content-length", "")
    return int(header) if header.isdecimal() else 0
