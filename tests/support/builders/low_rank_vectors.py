"""Vectors of length one that lie in few of their dimensions, as those of photos do."""

import numpy as np

COUNT, DIMENSION = 3000, 32


def drawn(seed, count):
    random = np.random.default_rng(seed)
    plane = np.random.default_rng(99).normal(size=(8, DIMENSION))
    vectors = random.normal(size=(count, 8)) @ plane
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
