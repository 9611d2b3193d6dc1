"""Check of ONNX graphs for weights in other files.

ONNX Runtime reads such files from paths that the graph names. Their bytes would not be covered by the
checksum of the graph, and a graph could name any file. The graph is read as plain Protocol Buffers, so that
the package ``onnx`` is not needed to serve.
"""

from collections.abc import Iterator, Mapping
from typing import Final

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING = range(8)

_CHILDREN: Final[Mapping[int, Mapping[int, int]]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _TENSOR: {},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
}
"""Messages that may hold tensors, by message and number of the field; see ``onnx.proto``."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
"""Fields of a tensor."""

_MAX_DEPTH: Final = 64


def has_external_data(onnx: bytes) -> bool:
    """Check whether a graph has weights in other files.

    Args:
        onnx: the graph.

    Raises:
        ValueError: it is not a message of Protocol Buffers.
    """
    return _has_external_data(memoryview(onnx), _MODEL, 0)


def _has_external_data(data: memoryview, message: int, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("the graph is nested too deeply")
    children = _CHILDREN[message]
    for number, value in _fields(data):
        if message == _TENSOR and number in {_EXTERNAL_DATA, _DATA_LOCATION}:
            # The location 0 is the graph itself.
            if number == _EXTERNAL_DATA or value != 0:
                return True
        elif (
            number in children
            and isinstance(value, memoryview)
            and _has_external_data(value, children[number], depth + 1)
        ):
            return True
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and value of each field of a message. Numbers of fixed size are yielded as bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        match key & 7:
            case 0:
                value, position = _varint(data, position)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 5:
                size = 4
            case 2:
                size, position = _varint(data, position)
            case _:
                raise ValueError(f"found a field of type {key & 7}; expected 0, 1, 2 or 5")
        if position + size > len(data):
            raise ValueError("a field ends after its message")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return a number, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number has no end")
