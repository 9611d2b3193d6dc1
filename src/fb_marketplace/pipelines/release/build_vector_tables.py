"""Vectors of a release as Lance tables, if servers search with Lance."""

from fb_marketplace.ann.vector_tables import VectorTableSource
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.release.manifest import IndexArtifact


def build_vector_tables(
    image_index: FileRef | Skipped,
    text_index: FileRef | Skipped,
    text_to_image_index: FileRef | Skipped,
    parameters: SearchParameters,
) -> dict[IndexArtifact, VectorTableSource]:
    """Return the sources of the tables, which are written when they are saved.

    Args:
        image_index: index of photos.
        text_index: index of texts.
        text_to_image_index: index of projected photos.
        parameters: the search engine.

    Returns:
        The sources by index; empty if the engine is ``faiss``.
    """
    indexes: dict[IndexArtifact, FileRef | Skipped] = {
        "image_index": image_index,
        "text_index": text_index,
        "text_to_image_index": text_to_image_index,
    }
    return {
        name: VectorTableSource(file, parameters)
        for name, file in indexes.items()
        if parameters.engine == "lance" and not isinstance(file, Skipped)
    }
