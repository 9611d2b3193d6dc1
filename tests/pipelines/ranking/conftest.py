import pytest

from fb_marketplace.ranking_parameters import (
    ProjectionParameters,
    SentenceParameters,
    WordParameters,
)


@pytest.fixture(scope="session")
def weighing(base_parameters) -> WordParameters:
    return WordParameters.model_validate(base_parameters["word_index"])


@pytest.fixture(scope="session")
def sentences(base_parameters) -> SentenceParameters:
    """Of a network that is drawn, and small."""
    return SentenceParameters.model_validate(base_parameters["sentences"] | {"weights": "random"})


@pytest.fixture(scope="session")
def projecting(base_parameters) -> ProjectionParameters:
    """Of a network that learns a little in a moment."""
    small = {"hidden": 32, "epochs": 12, "batch": 16, "dropout": 0.1, "rate": 0.02}
    return ProjectionParameters.model_validate(base_parameters["projection"] | small)
