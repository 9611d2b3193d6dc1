"""A bucket that went bad: a share of its rows and photos spoiled at random, by seed."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from support.files.table_forms import Form, draw_form

SHARE = 0.01
LEAST = 3
"""Of each table and of the photos: a hundredth of a small bucket would be less than one."""

ODD_BYTES = (
    b"\x00",
    b"\xff\xfe",
    b"\xc3",
    b"caf\xe9",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae\xe2\x80\x8b",  # from right to left, and of no width
    b"\r",
    b"\r\n",
    b"\x1b[31m",
    b"\xf0\x9f\x9b\x8b",
)
ODD_NAMES = (
    b"{id}.JPG",
    b"{id} .jpg",
    b" {id}.jpg",
    b"{id}.jpg.part",
    b"{id}%2F.jpg",
    b"{id}\n.jpg",
    b"{id}[1]*?.jpg",
    b"\xff{id}.jpg",
    b"{id}",
    b"\xc3\xa9{id}.jpg",
    b"{id}" + b"x" * 150 + b".jpg",
)


TABLES = ("Products.csv", "Images.csv")


class SpoiledBucket(NamedTuple):
    """The lines of both tables that were left as they were, and the form of each table."""

    complete_lines: set[bytes]
    forms: dict[str, Form]


def spoil(raw: Path, into: Path, seed: int) -> SpoiledBucket:
    """Copy a bucket, spoiling a share of it; files that stay as they are are linked.

    Each table is written in a random form. Only a table of this form may be unreadable: one that is cut.

    Args:
        raw: the bucket, as it should be.
        into: the folder for the spoiled one; made.
        seed: the same seed spoils the same.
    """
    chance = random.Random(seed)
    (into / "Assets").mkdir(parents=True)
    (into / "images").mkdir()
    complete: set[bytes] = set()
    forms = {table: draw_form(chance) for table in TABLES}
    for table, form in forms.items():
        header, *lines = (raw / "Assets" / table).read_bytes().split(b"\n")[:-1]
        spoiled, left = _spoil_lines(lines, chance)
        data = form.write([header, *spoiled], {header, *left})
        (into / "Assets" / table).write_bytes(data)
        complete.update(left)
    for photo in sorted((raw / "images").iterdir()):
        os.link(photo, into / "images" / photo.name)
    files = sorted((into / "images").iterdir())
    for photo in chance.sample(files, _share(len(files))):
        if photo.exists():
            chance.choice(PHOTO_FAULTS)(photo, chance)
    return SpoiledBucket(complete, forms)


def _share(count: int) -> int:
    return min(count, max(LEAST, round(SHARE * count)))


def _spoil_lines(lines: list[bytes], chance: random.Random) -> tuple[list[bytes], list[bytes]]:
    """Spoil some lines; gives all, and those that stayed as they were."""
    chosen = set(chance.sample(range(len(lines)), _share(len(lines))))
    left = [line for place, line in enumerate(lines) if place not in chosen]
    spoiled: list[bytes] = []
    for place, line in enumerate(lines):
        fault = chance.choice(LINE_FAULTS) if place in chosen else _as_it_is
        spoiled += fault(line, lines, chance)
    return spoiled, left


def _as_it_is(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [line]


def _flip_bytes(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [_flipped(line, chance)]


def _cut(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [line[: _place(line, chance)]]


def _cut_begin(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [line[_place(line, chance) :]]


def _break(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = _place(line, chance)
    return [line[:place], line[place:]]


def _insert(what: tuple[bytes, ...]) -> Callable[[bytes, list[bytes], random.Random], list[bytes]]:
    def insert(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
        place = _place(line, chance)
        return [line[:place] + chance.choice(what) + line[place:]]

    return insert


def _empty_a_field(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    fields = line.split(b",")
    fields[chance.randrange(len(fields))] = chance.choice((b"", b" ", b"N/A", b'""', b'"'))
    return [b",".join(fields)]


def _swap_fields(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    fields = line.split(b",")
    chance.shuffle(fields)
    return [b",".join(fields)]


def _double(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    return [line, line]


def _double_the_id(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Give a row the id of another."""
    mine, other = line.split(b","), chance.choice(lines).split(b",")
    if min(len(mine), len(other)) > 1:
        mine[1] = other[1]
    return [b",".join(mine)]


def _lose(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    return []


def _bloat(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = _place(line, chance)
    return [line[:place] + chance.choice((b"9", b"x ", b'""', b",")) * 100_000 + line[place:]]


LINE_FAULTS = (
    _flip_bytes,
    _cut,
    _cut_begin,
    _break,
    _insert((b'"', b'""', b'"""', b',"', b'",')),
    _insert((b",", b",,", b" / ", b"\\")),
    _insert(ODD_BYTES),
    _insert(ODD_BYTES),
    _empty_a_field,
    _swap_fields,
    _double,
    _double_the_id,
    _lose,
    _bloat,
)


def _rewrite(photo: Path, data: bytes) -> None:
    photo.unlink()  # a link to the photo as it should be
    photo.write_bytes(data)


def _flip_in_photo(photo: Path, chance: random.Random) -> None:
    _rewrite(photo, _flipped(photo.read_bytes(), chance))


def _flip_in_head(photo: Path, chance: random.Random) -> None:
    data = photo.read_bytes()
    _rewrite(photo, _flipped(data[:600], chance) + data[600:])


def _cut_photo(photo: Path, chance: random.Random) -> None:
    data = photo.read_bytes()
    _rewrite(photo, data[: _place(data, chance)])


def _zero_a_block(photo: Path, chance: random.Random) -> None:
    data = photo.read_bytes()
    place = _place(data, chance)
    _rewrite(photo, data[:place] + bytes(min(4096, len(data) - place)) + data[place + 4096 :])


def _empty_photo(photo: Path, chance: random.Random) -> None:
    _rewrite(photo, b"")


def _junk(photo: Path, chance: random.Random) -> None:
    _rewrite(photo, chance.randbytes(chance.randrange(1, 5000)))


def _append(photo: Path, chance: random.Random) -> None:
    _rewrite(photo, photo.read_bytes() + chance.randbytes(2000))


def _other_photo(photo: Path, chance: random.Random) -> None:
    _rewrite(
        photo,
        chance.choice([item for item in photo.parent.iterdir() if item.is_file()]).read_bytes(),
    )


def _rename(photo: Path, chance: random.Random) -> None:
    name = chance.choice(ODD_NAMES).replace(b"{id}", photo.stem.encode())
    photo.rename(photo.parent / os.fsdecode(name))


def _remove(photo: Path, chance: random.Random) -> None:
    photo.unlink()


def _into_a_folder(photo: Path, chance: random.Random) -> None:
    data = photo.read_bytes()
    photo.unlink()
    photo.mkdir()
    (photo / photo.name).write_bytes(data)


PHOTO_FAULTS = (
    _flip_in_photo,
    _flip_in_photo,
    _flip_in_head,
    _flip_in_head,
    _cut_photo,
    _zero_a_block,
    _empty_photo,
    _junk,
    _append,
    _other_photo,
    _rename,
    _rename,
    _remove,
    _into_a_folder,
)


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 9)):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)
