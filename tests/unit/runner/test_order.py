"""Order of execution."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.runner.order import order_by_stage


def same(data):
    return data


def stage(name, *nodes):
    nodes = [node(same, parent, child, name=child) for parent, child in nodes]
    return Pipeline(nodes, namespace=name, prefix_datasets_with_namespace=False)


def test_stages_stay_together_and_dependencies_hold():
    cleaning = stage("cleaning", ("raw", "a"), ("a", "b"), ("b", "c"))
    vision = stage("vision", ("a", "v"), ("v", "w"), ("c", "x"))

    names = [node.name.partition(".")[2] for node in order_by_stage(cleaning + vision)]

    assert names[:3] == ["a", "b", "c"]
    assert names.index("v") < names.index("w")
    assert sorted(names) == ["a", "b", "c", "v", "w", "x"]


def test_stages_that_need_each_other_alternate():
    text = stage("text", ("raw", "a"), ("v", "b"))
    vision = stage("vision", ("a", "v"))

    names = [node.name.partition(".")[2] for node in order_by_stage(text + vision)]

    assert names == ["a", "v", "b"]
