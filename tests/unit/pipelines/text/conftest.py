"""A sentence encoder with random weights."""

import pytest

from fb_marketplace.parameters.text import TextEncoderParameters
from fb_marketplace.pipelines.text.sentence_encoder import SentenceEncoder, build_sentence_encoder


@pytest.fixture(scope="session")
def random_sentence_encoder(sentences: TextEncoderParameters) -> SentenceEncoder:
    return build_sentence_encoder(sentences)
