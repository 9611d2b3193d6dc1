"""Decision whether a model is trained again if only its data has changed."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.parameters.base import RetrainedParameters, RetrainRule, WhenGrown
from fb_marketplace.runner.fingerprints import affects_outputs, digest, is_parameter
from fb_marketplace.storage.keyed_table import KEY
from fb_marketplace.storage.run_records import DataSketch, NodeFingerprint, TrainingInputs

FIT: Final = "fit"
"""Tag of the nodes that fit or select a model. Their parameters have a rule, ``retrain``."""

SKETCH_SIZE: Final = 256
"""Hashes in a sketch. Shares are exact for fewer rows; otherwise their standard error is below 0.04."""

MIN_SHARE_OF_ROWS: Final = 0.1
MIN_ROWS: Final = 1000
"""Inputs with fewer rows than both limits do not count for the change of the data. The first limit is a
share of the largest input's rows. A small input changes by a large share with one row."""

ROW_NUMBER: Final = "row"
"""Column that changes in all later rows if a listing is removed."""

CONTENT_COLUMNS: Final = "content_columns"
"""Metadata of a Lance table whose keys also depend on something other than its content, such as ETags of
files: columns with the content."""

RECIPE_COLUMNS: Final = "recipe_columns"
"""Metadata of a catalog entry: columns whose distinct values are part of the recipe, such as classes."""


class DataChange(NamedTuple):
    """Rows that are new since a training, and rows that are gone, as shares of its rows."""

    new: float
    gone: float

    @property
    def share(self) -> float:
        """The larger of both."""
        return max(self.new, self.gone)


class Decision(NamedTuple):
    """Reasons to train again, empty if the model is kept; and the change of the data since the training."""

    reasons: list[str]
    change: DataChange


class TrainingNodes:
    """The nodes of a run that train.

    An input is part of the recipe if it is a parameter, or in the layer ``models`` of the catalog. All
    other inputs are data. A dataset in memory stands for the inputs of the node that creates it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        catalog: DataCatalog,
        fingerprints: Mapping[str, NodeFingerprint],
        skipped: Mapping[str, str],
        content: Callable[[str], str],
    ) -> None:
        """Prepare the decisions of a run.

        Args:
            pipeline: the nodes of the run.
            catalog: the catalog.
            fingerprints: fingerprints of the nodes so far, by name.
            skipped: reason for each dataset that could not be created so far.
            content: function that returns the digest of a dataset.
        """
        self._catalog, self._fingerprints = catalog, fingerprints
        self._skipped, self._content = skipped, content
        self._creators = {name: node for node in pipeline.nodes for name in node.outputs}
        self._sketches: dict[tuple[str, str], DataSketch] = {}

    def rule(self, node: Node) -> RetrainRule | None:
        """Return the rule of a node; None if the node does not train."""
        if FIT not in node.tags:
            return None
        values = (self._catalog.load(name) for name in node.inputs if is_parameter(name))
        rules = [value.retrain for value in values if isinstance(value, RetrainedParameters)]
        return rules[0] if rules else None

    def inputs(self, node: Node) -> TrainingInputs:
        """Describe the recipe and the data with which a node would train."""
        recipe, data = dict[str, str](), dict[str, DataSketch]()
        pending = list(node.inputs)
        while pending:
            name = pending.pop()
            dataset: Any = self._catalog.get(name)
            metadata = getattr(dataset, "metadata", None) or {}
            if name in recipe or not affects_outputs(dataset):
                continue
            if name in self._skipped:
                recipe[name] = "skipped"
            elif is_parameter(name):
                recipe[name] = self._content(name)
            elif isinstance(dataset, MemoryDataset):
                if not (creator := self._creators.get(name)):
                    continue  # Kedro will raise an error when the node loads it.
                fingerprint = self._fingerprints[creator.name]
                recipe[name] = digest([fingerprint.code, fingerprint.options])
                pending += creator.inputs
            elif isinstance(dataset, LanceTableDataset):
                data[name] = self._sketch(name, _read(metadata.get(CONTENT_COLUMNS, [KEY])))
            elif metadata.get("kedro-viz", {}).get("layer") == "models":
                recipe[name] = self._content(name)
            elif hasattr(dataset, "_load_args"):  # a table of pandas; files have no rows
                data[name] = self._sketch(name, _without_row_number)
                for column in metadata.get(RECIPE_COLUMNS, ()):
                    values = self._catalog.load(name)[column]
                    recipe[f"{name}.{column}"] = digest(sorted(set(values.astype(str))))
        return TrainingInputs(recipe=recipe, data=data)

    def decide(self, rule: RetrainRule, earlier: NodeFingerprint, now: NodeFingerprint) -> Decision:
        """Decide whether a model is trained again.

        Args:
            rule: the rule of its node.
            earlier: fingerprint of its latest training.
            now: fingerprint that a training would have now.
        """
        if earlier.training is None or now.training is None:
            return Decision(["first run"], DataChange(0, 0))
        then, today = earlier.training, now.training
        changes = {
            name: data_change(then.data.get(name), sketch) for name, sketch in today.data.items()
        }
        reasons = [name for name in now.changes_since(earlier) if name in NOT_INPUTS]
        reasons += [
            name
            for name in sorted(then.recipe.keys() | today.recipe.keys())
            if then.recipe.get(name) != today.recipe.get(name)
        ]
        # Rows depend on parameters and weights. If none remains, another model computed them.
        reasons += [
            name
            for name, change in changes.items()
            if change.gone == 1 and isinstance(self._catalog.get(name), LanceTableDataset)
        ]
        largest = max((sketch.rows for sketch in today.data.values()), default=0)
        large = [
            change
            for name, change in changes.items()
            if today.data[name].rows >= min(MIN_ROWS, MIN_SHARE_OF_ROWS * largest)
        ]
        change = max(large, key=lambda change: change.share, default=DataChange(0, 0))
        if isinstance(rule, WhenGrown) and change.share >= rule.when_grown:
            reasons.append(f"{change.share:.1%} of the data")
        return Decision(reasons, change)

    def _sketch(self, name: str, rows: Callable[[Any], Any]) -> DataSketch:
        key = (name, self._content(name))
        if key not in self._sketches:
            self._sketches[key] = sketch(rows(self._catalog.load(name)))
        return self._sketches[key]


NOT_INPUTS: Final = ("code", "libraries", "options")
"""Parts of a fingerprint that are not inputs."""


def sketch(rows: Any) -> DataSketch:
    """Return the sketch of a pandas table."""
    import numpy as np
    import pandas as pd

    # 48 bits: short in a run record, and distinct for millions of rows.
    hashes = np.unique(pd.util.hash_pandas_object(rows.astype(str), index=False).to_numpy() >> 16)
    return DataSketch(rows=len(hashes), lowest=tuple(hashes[:SKETCH_SIZE].tolist()))


def data_change(then: DataSketch | None, now: DataSketch) -> DataChange:
    """Estimate the shares of rows that are new and gone."""
    if then is None or not then.rows:
        return DataChange(float(bool(now.rows)), 0.0)
    lowest = sorted({*then.lowest, *now.lowest})
    if max(then.rows, now.rows) > SKETCH_SIZE:
        lowest = lowest[:SKETCH_SIZE]
    jaccard = len({*lowest} & {*then.lowest} & {*now.lowest}) / len(lowest)
    shared = jaccard / (1 + jaccard) * (then.rows + now.rows)
    return DataChange(
        max(0.0, now.rows - shared) / then.rows, max(0.0, then.rows - shared) / then.rows
    )


def _read(columns: list[str]) -> Callable[[Any], Any]:
    return lambda table: table.read(columns).to_pandas()


def _without_row_number(table: Any) -> Any:
    return table.drop(columns=[ROW_NUMBER], errors="ignore")
