"""The network of the benchmark ``serving.py``, and a plain server for it.

FastAPI with torch in fp32 in the handler, like the original project. Photos are decoded as in our server,
so that the responses are the same.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.network import Network, make_network
from fb_marketplace_serving.imaging import canonical

LABELS = tuple(f"category {number:02}" for number in range(13))


def resnet50(parameters: VisionParameters) -> Network:
    """Build the network with fixed random weights."""
    torch.manual_seed(7)
    return make_network(parameters, classes=len(LABELS)).eval()


def answer(probabilities: np.ndarray) -> dict[str, object]:
    """Return the same response as our server."""
    by_label = dict(zip(LABELS, probabilities.tolist(), strict=True))
    category = max(by_label, key=by_label.__getitem__)
    return {"category": category, "confidence": by_label[category], "probabilities": by_label}


def serve_original(port: int, parameters: VisionParameters) -> None:
    """Serve the network with FastAPI and torch."""
    import uvicorn
    from fastapi import FastAPI, UploadFile

    network, app = resnet50(parameters), FastAPI()

    @app.post("/predict/image")
    def predict(image: UploadFile) -> dict[str, object]:
        pixels = canonical.decode_canonical(canonical.canonicalize(image.file.read()))
        with torch.no_grad():
            logits = network(torch.from_numpy(pixels[np.newaxis]))
        return answer(torch.softmax(logits, dim=1)[0].numpy())

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def main() -> None:
    """Serve on a local port until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with parameters.json")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    parameters = (options.folder / "parameters.json").read_text()
    serve_original(options.port, VisionParameters.model_validate_json(parameters))


if __name__ == "__main__":
    main()
