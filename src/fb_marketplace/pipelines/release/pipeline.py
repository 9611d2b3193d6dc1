"""Release: seals what a server needs, and points to it."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.release.sealing import make_listings, seal


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(make_listings, "products", "listings"),
            node(
                seal,
                [
                    "lake",
                    "encoder",
                    "image_index",
                    "image_index_ids",
                    "listings",
                    "vision_labels",
                    "images",
                    "content_digests",
                    "vision_metrics",
                    "retrieval_metrics",
                    "params:release",
                ],
                "release",
            ),
        ]
    )
