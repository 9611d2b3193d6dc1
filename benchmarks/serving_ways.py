"""The same network behind three servers: ours, the original's, and LitServe; each a process of its own.

All read a photo in the one way (``photos.canonical``), so that they answer the same. The original's is
what such scripts do: FastAPI, torch in fp32 as it comes, within the handler. LitServe gets our exported
graph, and what suits it best on these cores.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from fb_marketplace.parameters import VisionParameters
from fb_marketplace.pipelines.vision.network import Network, make_network
from fb_marketplace_serving import photos
from fb_marketplace_serving.encoder import Encoder
from fb_marketplace_serving.settings import cores

LABELS = tuple(f"category {number:02}" for number in range(13))


def resnet50(parameters: VisionParameters) -> Network:
    """Make the network that all serve: random weights, the same each time."""
    torch.manual_seed(7)
    return make_network(parameters, classes=len(LABELS)).eval()


def answer(probabilities: np.ndarray) -> dict[str, object]:
    """Answer as ours does."""
    told = dict(zip(LABELS, probabilities.tolist(), strict=True))
    category = max(told, key=told.__getitem__)
    return {"category": category, "confidence": told[category], "probabilities": told}


def serve_original(port: int, parameters: VisionParameters) -> None:
    """Serve as the original does."""
    import uvicorn
    from fastapi import FastAPI, UploadFile

    network, app = resnet50(parameters), FastAPI()

    @app.post("/predict/image")
    def predict(image: UploadFile) -> dict[str, object]:
        pixels = photos.pixels(photos.canonical(image.file.read()))
        with torch.no_grad():
            logits = network(torch.from_numpy(pixels[np.newaxis]))
        return answer(torch.softmax(logits, dim=1)[0].numpy())

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def serve_litserve(port: int, graph: Path) -> None:
    """Serve the exported graph by LitServe."""
    import litserve
    from fastapi import UploadFile

    class Exported(litserve.LitAPI):
        def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
            self._encoder = Encoder.from_bytes(graph.read_bytes(), 1)

        def decode_request(self, request: dict[str, UploadFile]) -> np.ndarray:
            return photos.pixels(photos.canonical(request["image"].file.read()))

        def predict(self, x: np.ndarray) -> np.ndarray:
            return self._encoder.encode(x[np.newaxis]).probabilities[0]

        def encode_response(self, output: np.ndarray) -> dict[str, object]:
            return answer(output)

    server = litserve.LitServer(
        Exported(api_path="/predict/image"),
        accelerator="cpu",
        workers_per_device=cores(),
        timeout=60,
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


def main() -> None:
    """Serve one way, on a port of this machine, until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("way", choices=["original", "litserve"])
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path, help="with parameters.json and encoder.onnx")
    told = parser.parse_args()
    if told.way == "original":
        parameters = (told.folder / "parameters.json").read_text()
        serve_original(told.port, VisionParameters.model_validate_json(parameters))
    else:
        serve_litserve(told.port, told.folder / "encoder.onnx")


if __name__ == "__main__":
    main()
