"""The photo in a request: read within a bound, and never more of it than a photo may be."""

import asyncio
from typing import Any, Final

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message

from fb_marketplace_serving.imaging.canonical import PhotoError
from fb_marketplace_serving.server.errors import ApiError

_ENVELOPE_BYTES: Final = 64 * 1024
"""What a multipart body may have beside the photo: boundaries, headers, a few small fields."""

_SECONDS_TO_DRAIN: Final = 0.25
_SECONDS_TO_LINGER: Final = 5.0

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
                            "description": "a JPEG, PNG or WebP photo",
                        }
                    },
                }
            }
        },
    }
}
"""OpenAPI's words for such a request."""


async def read_upload(request: Request, max_bytes: int, seconds: float) -> UploadFile:
    """Read the field ``image`` of a form; large photos lie in a temporary file until they are closed.

    Args:
        request: whose body has not been read.
        max_bytes: of the photo.
        seconds: that it may take to come in.

    Raises:
        PhotoError: it is too large.
        HTTPException: there is none, or it did not come in whole, or in time.
    """
    bounded = _Bounded(request, max_bytes)
    try:
        async with asyncio.timeout(seconds):
            form = await Request(request.scope, bounded.receive).form(max_files=1, max_fields=8)
    except PhotoError:
        if not bounded.ended:
            await drain_body(request, _SECONDS_TO_LINGER)
        raise
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the upload was whole") from None
    except TimeoutError:
        raise ApiError(
            408, "slow_upload", f"the upload was not whole within {seconds:g} s"
        ) from None
    image = form.get("image")
    if isinstance(image, UploadFile):
        return image
    await form.close()
    raise HTTPException(
        422,
        "found no file in the form field `image`; send one as in: "
        f"curl -F image=@photo.jpg {request.url.replace(query='')}",
    )


async def drain_body(request: Request, seconds: float = _SECONDS_TO_DRAIN) -> None:
    """Read, and throw away, what is left of a body that nobody wants.

    A connection that is closed on an unread body takes the answer with it.

    Args:
        request: whose body has not been read to its end.
        seconds: after which the rest is left where it is.
    """
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive()).get("more_body"):
                pass
    except TimeoutError:
        return


class _Bounded:
    """Receives the body of a request as long as it is no longer than one photo makes it."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self.ended = False
        self._request = request
        self._most = self._left = max_bytes + _ENVELOPE_BYTES
        self._too_long = PhotoError(
            "oversized", f"more than the {max_bytes:,} bytes that are accepted"
        )

    async def receive(self) -> Message:
        if _told_length(self._request) > self._most:
            raise self._too_long
        message = await self._request.receive()
        self.ended = not message.get("more_body")
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._too_long
        return message


def _told_length(request: Request) -> int:
    told = request.headers.get("content-length", "")
    return int(told) if told.isdecimal() else 0
