"""Order in which the runner executes nodes."""

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node


def order_by_stage(pipeline: Pipeline) -> list[Node]:
    """Return the nodes in an order that respects their dependencies and keeps stages together.

    Kedro's own order mixes the stages. If cleaning stops the run because it rejected too much, no other
    stage should have worked for minutes before.
    """
    nodes = pipeline.nodes
    stages = list(dict.fromkeys(node.namespace for node in nodes))
    waiting = {node: set(parents) for node, parents in pipeline.node_dependencies.items()}
    ordered: list[Node] = []
    while waiting:
        ready = [node for node in nodes if node in waiting and not waiting[node]]
        following = min(ready, key=lambda node: stages.index(node.namespace))
        ordered.append(following)
        del waiting[following]
        for parents in waiting.values():
            parents.discard(following)
    return ordered
