"""Studies of an objective that takes no time: the nearer to 0.5, the better."""

import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from fb_marketplace.errors import UserError
from fb_marketplace.ml.objective import Objective
from fb_marketplace.observability.progress import collect_counts
from fb_marketplace.parameters.base import Count, Parameters, Share
from fb_marketplace.parameters.tune import SearchRange, TuneParameters
from fb_marketplace.pipelines.tune import search
from fb_marketplace.pipelines.tune.search import run_studies
from fb_marketplace.storage.checkpoint_dir import CheckpointDir

SECTIONS = ("ranker", "vision.head", "vision.embedding")


class Section(Parameters):
    """Parameters of the objective."""

    learning_rate: Share = 0.1
    batch_size: Count = 8


@pytest.fixture
def settings(base_parameters):
    """Return the base parameters with other values and the same ranges for all sections."""

    def settings(space=None, **values):
        space = {"learning_rate": {"low": 0.0, "high": 1.0}} if space is None else space
        spaces = {"ranker": space, "vision": {"head": space, "embedding": space}}
        return TuneParameters.model_validate(
            base_parameters["tune"] | {"trials": 12} | spaces | values
        )

    return settings


@pytest.fixture
def run(tmp_path, settings):
    """Run the studies, and return them with the evaluated sections."""

    def run(parameters=None, folder="work", key="data", before_each=lambda number: None):
        evaluated = []

        def evaluate(values):
            before_each(len(evaluated))
            evaluated.append(values)
            return np.array([1.0, 0.0, 1.0]) - abs(values.learning_rate - 0.5)

        objectives = [
            Objective(section, "accuracy", Section(), np.arange(3), key, evaluate)
            for section in SECTIONS
        ]
        studies = run_studies(
            *objectives, CheckpointDir(str(tmp_path / folder)), parameters or settings()
        )
        return SimpleNamespace(studies=studies, evaluated=evaluated)

    return run


def rates(study):
    return [trial.parameters["learning_rate"] for trial in study.trials]


def test_first_trial_has_current_values(run):
    for study in run().studies:
        assert rates(study)[0] == Section().learning_rate
        assert len(study.trials) == study.planned == 12


def test_search_improves_on_current_values(run):
    for study in run().studies:
        assert study.best.score > study.trials[0].score + 0.2
        assert study.best.score == max(trial.score for trial in study.trials)


def test_same_seed_gives_same_trials(run, settings):
    first, second = (run(folder=name).studies for name in "ab")
    other = run(settings(seed=1), folder="c").studies

    assert [rates(study) for study in first] == [rates(study) for study in second]
    assert rates(other[0])[1:] != rates(first[0])[1:]


def test_values_are_within_their_ranges(run, settings):
    space = {
        "learning_rate": {"low": 0.01, "high": 0.2, "log": True},
        "batch_size": {"low": 2, "high": 4},
    }
    parameters = settings(ranker={}, vision={"head": space, "embedding": {}})
    (study,) = run(parameters).studies

    for trial in study.trials[1:]:
        assert 0.01 <= trial.parameters["learning_rate"] <= 0.2
        assert trial.parameters["batch_size"] in (2, 3, 4)


def test_current_values_may_be_out_of_range(run, settings):
    (study, *_) = run(settings({"learning_rate": {"low": 0.4, "high": 0.6}})).studies

    assert rates(study)[0] == 0.1
    assert all(0.4 <= rate <= 0.6 for rate in rates(study)[1:])


def test_stored_trials_are_not_evaluated_again(run, settings):
    first = run(settings(trials=5))
    collect_counts()
    second = run()

    assert {count[1:] for count in collect_counts()} == {(12 - 5, 5)}
    assert len(first.evaluated) == 3 * 5
    assert len(second.evaluated) == 3 * (12 - 5)
    assert [rates(study) for study in second.studies] == [
        rates(study) for study in run(folder="other").studies
    ]


def test_trials_of_other_data_are_evaluated_again(run):
    run()

    assert len(run(key="other data").evaluated) == 3 * 12


def test_section_without_ranges_is_not_tuned(run, settings):
    names = [study.objective.section for study in run(settings(ranker={})).studies]

    assert names == ["vision.head", "vision.embedding"]


def test_timeout_leaves_trial_of_current_values(run, settings, caplog):
    result = run(settings(timeout_s=1e-9))

    assert [len(study.trials) for study in result.studies] == [1, 1, 1]
    assert "reached its timeout after 1 of 12 trials" in caplog.messages[0]
    assert "--recompute" in caplog.messages[0]


@pytest.fixture
def default_handler():
    """Handle interrupts as Python does; a background job of a shell ignores them."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def interrupt_at(position):
    def interrupt(number):
        if number == position:
            signal.raise_signal(signal.SIGINT)

    return interrupt


def test_interrupt_ends_search_with_results(run):
    handler = signal.getsignal(signal.SIGINT)

    result = run(before_each=interrupt_at(3))

    assert [len(study.trials) for study in result.studies] == [4]
    assert signal.getsignal(signal.SIGINT) is handler
    assert [len(study.trials) for study in run().studies] == [12, 12, 12]


def test_second_interrupt_ends_run(run, default_handler):
    def interrupt_twice(number):
        if number in (2, 3):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(before_each=interrupt_twice)

    assert len(run().evaluated) == 3 * 12 - 2


def test_section_that_cannot_be_trained_is_skipped(run, caplog):
    errors = iter([UserError("too few pairs")])

    def fail_once(number):
        if error := next(errors, None):
            raise error

    result = run(before_each=fail_once)

    assert [study.objective.section for study in result.studies] == list(SECTIONS[1:])
    assert caplog.messages == ["ranker is not tuned: too few pairs"]


def test_range_that_parameter_cannot_have_is_rejected(run, settings):
    space = {"learning_rate": {"low": 0.1, "high": 2.0}}

    with pytest.raises(UserError, match=r"tune.ranker.learning_rate reaches 2.0"):
        run(settings(space))


def test_unknown_parameter_is_rejected(settings):
    with pytest.raises(
        ValidationError, match="no parameter num_leaf; expected some of num_boost_round"
    ):
        settings(ranker={"num_leaf": {"low": 2, "high": 8}})


@pytest.mark.parametrize("name", ["num_blocks", "gem_p", "second_input_side"])
def test_parameter_of_the_features_is_rejected(settings, name):
    embedding = {name: {"low": 1, "high": 8}}

    with pytest.raises(ValidationError, match=f"{name} cannot be tuned"):
        settings(vision={"head": {}, "embedding": embedding})


@pytest.mark.parametrize("values", [{"low": 2, "high": 1}, {"low": 0.0, "high": 1.0, "log": True}])
def test_impossible_range_is_rejected(values):
    with pytest.raises(ValidationError, match="low is"):
        SearchRange.model_validate(values)


class EngineOfTrials:
    """Engine that works on trials when their results are needed, and counts those in flight."""

    def __init__(self, workers):
        self.train_workers, self.in_flight = workers, []

    def start_trials(self, function):
        pending = []

        def start(values):
            def wait():
                pending.remove(wait)
                return function(values)

            pending.append(wait)
            self.in_flight.append(len(pending))
            return wait

        return start


@pytest.fixture
def run_with(run, monkeypatch):
    """Run the studies with so many workers; return them and the engine."""

    def run_with(workers, *arguments, **options):
        engine = EngineOfTrials(workers)
        with monkeypatch.context() as patched:
            patched.setattr(search, "current_engine", lambda: engine)
            return run(*arguments, **options), engine

    return run_with


def test_one_worker_makes_the_trials_of_this_process(run, run_with):
    expected, (actual, _) = run(folder="local"), run_with(1)

    assert [rates(study) for study in actual.studies] == [
        rates(study) for study in expected.studies
    ]


def test_first_trial_is_alone_and_the_others_fill_the_workers(run_with, settings):
    _, engine = run_with(3, settings(trials=6))

    assert engine.in_flight == 3 * [1, 1, 2, 3, 3, 3]


def test_suggestions_do_not_wait_for_trials_in_flight(run, run_with, settings):
    """The first ten trials need no results."""
    alone, (three, _) = run(settings(trials=20), folder="local"), run_with(3, settings(trials=20))

    for one, other in zip(alone.studies, three.studies, strict=True):
        assert rates(one)[:10] == rates(other)[:10]
        assert rates(one) != rates(other)


def test_interrupted_search_of_workers_continues(run_with, settings):
    expected, _ = run_with(3, settings(trials=16), folder="undisturbed")
    interrupted, _ = run_with(3, settings(trials=16), before_each=interrupt_at(3))

    resumed, _ = run_with(3, settings(trials=16))

    (study,) = interrupted.studies
    assert 4 <= len(study.trials) <= 6, "trials in flight are completed"
    assert len(resumed.evaluated) == 3 * 16 - len(study.trials)
    assert [rates(study) for study in resumed.studies] == [
        rates(study) for study in expected.studies
    ]


def test_missing_optuna_is_an_error_with_remedy(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(UserError, match="pip install optuna"):
        run()
