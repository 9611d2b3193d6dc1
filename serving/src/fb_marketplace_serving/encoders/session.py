"""ONNX Runtime sessions on the CPU. The number of threads is set only here."""

from collections.abc import Sequence
from typing import Any

from fb_marketplace_serving.encoders.external_data import has_external_data


def open_session(
    onnx: bytes,
    threads: int | None,
    error: type[ValueError],
    disabled_optimizers: Sequence[str] = (),
) -> Any:
    """Open an ONNX graph that contains its weights.

    Args:
        onnx: the graph.
        threads: threads per run; None uses one per physical core.
        error: type of the exception to raise.
        disabled_optimizers: names of ONNX Runtime's graph optimizers to skip.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        ValueError: ONNX Runtime cannot open the graph, or it has weights in other files. The type is
            ``error``.
    """
    import onnxruntime as ort

    try:
        is_external = has_external_data(onnx)
    except ValueError as cause:
        raise error(
            f"found {len(onnx):,} bytes that are not ONNX ({cause}); expected one ONNX file with its "
            "weights inside"
        ) from cause
    if is_external:
        raise error("found weights in other files; expected one ONNX file with its weights inside")

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # Spinning threads would take cores from decoding and from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors are raised. The library would also print them, in a format of its own.
    options.log_severity_level = 4
    ort.set_default_logger_severity(4)
    try:
        return ort.InferenceSession(
            onnx,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(disabled_optimizers),
        )
    except Exception as cause:  # ONNX Runtime's errors have no narrower base
        first_line = str(cause).partition("\n")[0]
        raise error(
            f"found {len(onnx):,} bytes that ONNX Runtime cannot open ({first_line}); "
            "expected one ONNX file with its weights inside"
        ) from cause
