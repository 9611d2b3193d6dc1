"""LitServe with our exported graph, tuned for CPUs: one worker per core, no batching."""

import argparse
from pathlib import Path

import litserve
import numpy as np
from serving_original import answer

from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.server.settings import cores


class Exported(litserve.LitAPI):
    """The same responses as ours, from the same graph."""

    def __init__(self, graph: Path) -> None:
        """Store the path of the graph."""
        super().__init__(api_path="/predict/image")
        self._graph = graph

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the graph in a worker."""
        self._encoder = Encoder.from_bytes(self._graph.read_bytes(), 1)

    def decode_request(self, request) -> np.ndarray:  # LitServe parses a body by its annotation
        """Decode the photo."""
        return canonical.decode_canonical(canonical.canonicalize(request["image"].file.read()))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return its probabilities."""
        return self._encoder.encode(x[np.newaxis]).probabilities[0]

    def encode_response(self, output: np.ndarray) -> dict[str, object]:
        """Return the response."""
        return answer(output)


def main() -> None:
    """Serve on a local port until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with encoder.onnx")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    server = litserve.LitServer(
        Exported(options.folder / "encoder.onnx"),
        accelerator="cpu",
        workers_per_device=cores(),
        timeout=60,
    )
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
