import pytest

from fb_marketplace.parameters import VisionParameters


@pytest.fixture(scope="session")
def told(base_parameters) -> VisionParameters:
    """The base recipe, made small: random weights, few epochs, photos of 64 pixels."""
    small = {"weights": "none", "input_side": 64, "epochs": 8, "batch_size": 16}
    return VisionParameters.model_validate(
        base_parameters["vision"] | small | {"learning_rate": 0.1, "bootstrap_samples": 20}
    )
