"""Search for better parameters: seeded trials by Optuna, whose results are stored as they come."""

import json
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fb_marketplace.compute.shards import current_engine
from fb_marketplace.errors import UserError
from fb_marketplace.ml.objective import Objective
from fb_marketplace.observability.progress import Progress, hide_progress
from fb_marketplace.parameters.base import Parameters
from fb_marketplace.parameters.tune import SearchSpace, TuneParameters
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.fingerprints import make_key

Values = Mapping[str, int | float]

logger = logging.getLogger(__name__)


class Trial(NamedTuple):
    """Searched parameters, and the metric of each validation case: float64, (cases,)."""

    parameters: Values
    cases: NDArray[np.float64]

    @property
    def score(self) -> float:
        """Mean of the cases."""
        return float(self.cases.mean())


class Study(NamedTuple):
    """The trials of an objective.

    Attributes:
        objective: the objective.
        trials: the completed trials. The first has the current values.
        planned: number of trials that were to be made.
    """

    objective: Objective
    trials: list[Trial]
    planned: int

    @property
    def best(self) -> Trial:
        """The trial with the highest mean; of equal ones the first."""
        return max(self.trials, key=lambda trial: trial.score)


def run_studies(
    ranker_objective: Objective,
    head_objective: Objective,
    embedding_objective: Objective,
    tuning_work: CheckpointDir,
    parameters: TuneParameters,
) -> list[Study]:
    """Search for values of each section that are better on validation.

    Each study stops after its trials, or at its timeout. Ctrl+C ends all studies after the current trial, a
    second Ctrl+C ends the run. Stored trials are not computed again.

    An engine with n training workers works on n trials at a time. A suggestion then knows the results of
    all trials but the last n - 1, so the values depend on n, but not on which trial is ready first.

    Args:
        ranker_objective: parameters of the ranker.
        head_objective: parameters of the linear probe.
        embedding_objective: parameters of the embedding head.
        tuning_work: folder of stored trials.
        parameters: number of trials, timeout, seed and ranges.

    Returns:
        The studies that have at least one trial.

    Raises:
        UserError: Optuna is not installed, or a range has values that its parameter cannot have.
    """
    objectives = (ranker_objective, head_objective, embedding_objective)
    spaces = {o.section: parameters.spaces[o.section] for o in objectives}
    for objective in objectives:
        _check_bounds(objective, spaces[objective.section])
    with _stop_on_interrupt() as is_stopped:
        studies = [
            _run_study(objective, spaces[objective.section], tuning_work, parameters, is_stopped)
            for objective in objectives
            if spaces[objective.section]
        ]
    return [study for study in studies if study.trials]


class _Suggestion(NamedTuple):
    """Values to try, and Optuna's trial of them; None for the current values."""

    values: Values
    trial: Any = None


class _PendingTrial(NamedTuple):
    """Values that are tried, whether their cases are stored, and a function that waits for the cases."""

    suggestion: _Suggestion
    is_stored: bool
    wait: Callable[[], NDArray[np.float64]]


def _run_study(
    objective: Objective,
    space: SearchSpace,
    work: CheckpointDir,
    parameters: TuneParameters,
    is_stopped: threading.Event,
) -> Study:
    section, deadline = objective.section, time.monotonic() + parameters.timeout_s
    folder = work.under(f"tuning-{make_key(section, objective.key)[:16]}")
    stored, sampler = set(folder.names()), _Sampler(objective.current, space, parameters.seed)
    max_pending, start = _start_trials(objective)
    trials: list[Trial] = []
    pending: deque[_PendingTrial] = deque()
    with Progress(f"trials of {section}", parameters.trials) as progress:

        def complete() -> None:
            # In the order of their start: it decides which values are tried next.
            suggestion, is_stored, wait = pending.popleft()
            trials.append(Trial(suggestion.values, wait()))
            sampler.tell(suggestion, trials[-1].score)
            best = max(trial.score for trial in trials)
            note = f"{objective.metric} {best:.4f}, at first {trials[0].score:.4f}"
            progress.advance(1, note, reused=is_stored)

        for number in range(parameters.trials):
            suggestion = sampler.suggest() if number else _Suggestion(sampler.current)
            candidate = _with_values(objective.current, suggestion.values)
            name = f"{make_key(candidate.model_dump_json())[:16]}.json"
            if name not in stored and (
                is_stopped.is_set() or (number and time.monotonic() > deadline)
            ):
                reason = "was interrupted" if is_stopped.is_set() else "reached its timeout"
                logger.warning(
                    "The search for %s %s after %d of %d trials. Run the same command with "
                    "--recompute to continue it.",
                    *(section, reason, number, parameters.trials),
                )
                break
            wait = (
                partial(_read_cases, folder, name)
                if name in stored
                else partial(_store_cases, folder, name, suggestion.values, start(candidate))
            )
            pending.append(_PendingTrial(suggestion, name in stored, wait))
            try:
                # The current values alone: without their result, there is no search.
                while len(pending) >= (max_pending if number else 1):
                    complete()
            except UserError as error:
                if number:
                    raise
                logger.warning("%s is not tuned: %s", section, error)
                break
        while pending:
            complete()
    return Study(objective, trials, parameters.trials)


def _start_trials(
    objective: Objective,
) -> tuple[int, Callable[[Parameters], Callable[[], NDArray[np.float64]]]]:
    """Return the number of trials at a time, and a function that starts one and returns its wait."""
    engine = current_engine()
    if engine and engine.train_workers:
        return engine.train_workers, engine.start_trials(objective.evaluate)
    return 1, partial(partial, objective.evaluate)


def _read_cases(folder: CheckpointDir, name: str) -> NDArray[np.float64]:
    return np.asarray(json.loads(folder.read(name))["cases"], np.float64)


def _store_cases(
    folder: CheckpointDir, name: str, values: Values, wait: Callable[[], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Wait for the metric of each case, and store it."""
    with hide_progress():
        cases = wait()
    content = {"parameters": dict(values), "cases": cases.tolist()}
    folder.write(name, json.dumps(content).encode())
    return cases


class _Sampler:
    """Suggests values by the Tree-structured Parzen Estimator (Bergstra et al., 2011)."""

    def __init__(self, current: Parameters, space: SearchSpace, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UserError(
                "Optuna is not installed, and the pipeline `tune` needs it. Run `pip install optuna` (the "
                "extra `tune`)."
            ) from error
        # It would log each study as new.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kinds = optuna.distributions
        self._distributions: dict[str, Any] = {
            name: kinds.IntDistribution(int(bounds.low), int(bounds.high), log=bounds.log)
            if isinstance(bounds.low, int) and isinstance(bounds.high, int)
            else kinds.FloatDistribution(bounds.low, bounds.high, log=bounds.log)
            for name, bounds in space.items()
        }
        self.current: Values = {name: getattr(current, name) for name in space}
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        self._first_trial = optuna.trial.create_trial

    def suggest(self) -> _Suggestion:
        """Return the next values, with four digits, so that they are the same when they are typed."""
        trial = self._study.ask(self._distributions)
        values = {
            name: float(f"{value:.4g}") if isinstance(value, float) else value
            for name, value in trial.params.items()
        }
        return _Suggestion(values, trial)

    def tell(self, suggestion: _Suggestion, score: float) -> None:
        """Add the score of a suggestion, or of the current values."""
        if suggestion.trial:
            self._study.tell(suggestion.trial, score)
        elif all(
            self._distributions[name]._contains(value) for name, value in self.current.items()
        ):
            trial = self._first_trial(
                params=dict(self.current), distributions=self._distributions, value=score
            )
            self._study.add_trial(trial)


def _with_values(current: Parameters, values: Values) -> Parameters:
    return type(current).model_validate(current.model_dump() | dict(values))


def _check_bounds(objective: Objective, space: SearchSpace) -> None:
    for name, values in space.items():
        for bound in (values.low, values.high):
            try:
                _with_values(objective.current, {name: bound})
            except ValidationError as error:
                raise UserError(
                    f"tune.{objective.section}.{name} reaches {bound}, which "
                    f"{objective.section}.{name} cannot be: {error.errors()[0]['msg']}."
                ) from error


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl+C sets; a second one interrupts as usual."""
    is_stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield is_stopped
        return
    previous = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        is_stopped.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, stop)
    try:
        yield is_stopped
    finally:
        signal.signal(signal.SIGINT, previous)
