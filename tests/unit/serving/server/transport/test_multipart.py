"""Forms with a photo, as clients send them."""

import asyncio
import io

import pytest

from fb_marketplace_serving.server.transport.multipart import MalformedFormError, read_form_file

TYPE = "multipart/form-data; boundary=x"
PHOTO = b"\xff\xd8 photo \r\n--y\r\n"


def part(disposition, content, more=""):
    return f"--x\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + content + b"\r\n"


def image(content=PHOTO, more='; filename="a.jpg"', headers=""):
    return part(f'form-data; name="image"{more}', content, headers)


def read(body, content_type=TYPE, size=1000):
    """Return the content of the file, or None."""

    async def chunks():
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def run():
        file = await read_form_file(content_type, chunks(), "image")
        return None if file is None else await file.read()

    return asyncio.run(run())


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ('; filename="a.jpg"', ""),
        ("; filename=a.jpg", ""),
        ("; filename*=UTF-8''%C3%A4.jpg", ""),
        ("; filename* = utf-8''a.jpg", ""),
        ('; filename=""', ""),
        ("", "Content-Type: image/jpeg\r\n"),
        ("", "content-type: application/octet-stream\r\n"),
    ],
)
def test_part_with_file_name_or_type_is_a_file(size, more, headers):
    assert read(image(more=more, headers=headers) + b"--x--\r\n", size=size) == PHOTO


@pytest.mark.parametrize("headers", ["", "Content-Type: text/plain\r\n"])
def test_text_is_no_file(headers):
    assert read(image(more="", headers=headers) + b"--x--\r\n") is None


def test_first_file_of_the_name_is_read():
    other = part('form-data; name="mask"; filename="b.png"', b"mask")
    text = image(b"a.jpg", more="")

    assert read(other + text + image(b"first") + image(b"second") + b"--x--") == b"first"


def test_large_file_is_on_the_disk():
    content = bytes(3_000_000)

    assert read(image(content) + b"--x--\r\n", size=65_536) == content


@pytest.mark.parametrize("ending", [b"", b"--x", b"--x-", b"--x\r\n"])
def test_form_without_closing_boundary_is_malformed(ending):
    with pytest.raises(MalformedFormError):
        read(image() + ending)


@pytest.mark.parametrize("end", [b"--x--", b"--x--\r\n", b"--x--\r\nepilogue"])
def test_form_may_end_after_its_closing_boundary(end):
    assert read(image() + end) == PHOTO


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", TYPE),
        (b"nonsense", TYPE),
        (image() + b"--x--", "multipart/form-data"),
        (image() + b"--x--", f"multipart/form-data; boundary={'x' * 500}"),
        (part('form-data; filename="a"', b"") + b"--x--", TYPE),
        (part('attachment; name="image"; filename="a"', b"") + b"--x--", TYPE),
        (b"--x\r\n\r\nno headers\r\n--x--", TYPE),
        (image(b"a", more="") * 20 + b"--x--", TYPE),
        (image(headers="a: b\r\n" * 100) + b"--x--", TYPE),
        (image(headers=f"a: {'b' * 100_000}\r\n") + b"--x--", TYPE),
    ],
)
def test_malformed_form_is_refused(body, content_type):
    with pytest.raises(MalformedFormError):
        read(body, content_type)


@pytest.mark.parametrize("content_type", ["", "image/jpeg", "application/x-www-form-urlencoded"])
def test_other_body_has_no_file(content_type):
    assert read(b"image=a.jpg", content_type) is None


def test_file_is_closed_if_the_form_is_malformed(monkeypatch):
    opened = []

    def open_file(size):
        opened.append(io.BytesIO())
        return opened[0]

    monkeypatch.setattr(
        "fb_marketplace_serving.server.transport.multipart.SpooledTemporaryFile", open_file
    )
    with pytest.raises(MalformedFormError):
        read(image())

    assert opened[0].closed
