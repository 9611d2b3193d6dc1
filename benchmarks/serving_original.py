"""The network that :mod:`serving` compares servers by, and the original's way to serve it.

FastAPI, torch in fp32 as it comes, within the handler: what such scripts do. A photo is read in the one
way (``photos.canonical``), so that it answers the same.
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
        pixels = canonical.decode_canonical(canonical.canonicalize(image.file.read()))
        with torch.no_grad():
            logits = network(torch.from_numpy(pixels[np.newaxis]))
        return answer(torch.softmax(logits, dim=1)[0].numpy())

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def main() -> None:
    """Serve the original's way on a port of this machine, until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with parameters.json")
    parser.add_argument("port", type=int)
    told = parser.parse_args()
    parameters = (told.folder / "parameters.json").read_text()
    serve_original(told.port, VisionParameters.model_validate_json(parameters))


if __name__ == "__main__":
    main()
