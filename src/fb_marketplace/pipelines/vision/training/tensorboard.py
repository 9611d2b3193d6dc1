"""Training metrics as a TensorBoard event file."""

import io
from collections.abc import Sequence
from typing import Final

EVENTS: Final = "events.out.tfevents.vision"
"""File name: TensorBoard reads every file whose name contains ``tfevents``."""


def encode_events(history: Sequence[dict[str, float]]) -> bytes:
    """Encode one scalar per metric and epoch; the same history gives the same bytes.

    The bytes of a shorter history are a prefix of those of a longer one, so that TensorBoard can follow
    a file that is rewritten after each epoch. The time of an event is its epoch.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    for step, metrics in enumerate(history):
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in sorted(metrics.items())
            if name != "epoch"
        ]
        event = Event(wall_time=float(step), step=step, summary=Summary(value=values))
        writer.write(event.SerializeToString())
    writer.flush()
    return buffer.getvalue()
