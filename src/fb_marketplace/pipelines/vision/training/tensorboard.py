"""A training's measures as TensorBoard reads them."""

import io
from collections.abc import Sequence
from typing import Final

EVENTS: Final = "events.out.tfevents.vision"
"""Name of the file: TensorBoard takes every file whose name holds ``tfevents``."""


def encode_events(history: Sequence[dict[str, float]]) -> bytes:
    """Write one scalar for each measure and epoch; the same history gives the same bytes.

    A longer history begins with the bytes of a shorter one, so that a file that is written anew
    after each epoch can be followed. Its clock counts epochs: when they ended is not kept.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    for step, measures in enumerate(history):
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in sorted(measures.items())
            if name != "epoch"
        ]
        event = Event(wall_time=float(step), step=step, summary=Summary(value=values))
        writer.write(event.SerializeToString())
    writer.flush()
    return buffer.getvalue()
