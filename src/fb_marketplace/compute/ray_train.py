"""Training in a group of processes by Ray Train. This module runs in Ray's processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, Final

from fb_marketplace.compute.library_versions import check_versions
from fb_marketplace.errors import UserError

LIBRARIES: Final = (
    *("lightgbm", "numpy", "pandas", "pillow", "pylance", "pytorch-metric-learning"),
    *("scikit-learn", "timm", "torch", "torchvision"),
)
"""Libraries whose version may change a training. Workers must have those of the driver."""

LOCK: Final = "requirements.lock and torch.lock"


@dataclass(frozen=True)
class TrainResources:
    """Processes that train; see ``conf/base/compute.yml``."""

    workers: int
    cpus_per_worker: int
    use_gpu: bool
    python: str | None
    max_failures: int

    @property
    def options(self) -> dict[str, Any]:
        """Options of a task whose processes, and those that it starts, use this Python and device."""
        environment: dict[str, Any] = {"py_executable": self.python} if self.python else {}
        if not self.use_gpu:
            # Without it, torch would find the GPUs of a machine that has some.
            environment["env_vars"] = {"CUDA_VISIBLE_DEVICES": ""}
        return {"runtime_env": environment} if environment else {}

    @property
    def cpus(self) -> int:
        """Cores of all processes."""
        return self.workers * self.cpus_per_worker

    @property
    def gpus(self) -> int:
        """GPUs of all processes."""
        return self.workers if self.use_gpu else 0


def train(loop: Callable[[], Any], resources: TrainResources, versions: Mapping[str, str]) -> None:
    """Call a function in each process of a group, whose torch process group is initialized.

    If a process is lost, Ray Train starts all of them again. The function resumes from its own checkpoints.

    Args:
        loop: a picklable function.
        resources: the processes.
        versions: the driver's versions of libraries.

    Raises:
        UserError: the libraries differ, or the training failed in all attempts.
    """
    check_versions(versions, LOCK)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    # Nothing is reported to Ray Train, so that it stores no more than its own state.
    with TemporaryDirectory() as folder:
        trainer = TorchTrainer(
            partial(_call_in_worker, loop, versions),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.use_gpu,
                resources_per_worker={"CPU": resources.cpus_per_worker}
                | ({"GPU": 1} if resources.use_gpu else {}),
            ),
            run_config=RunConfig(
                storage_path=folder,
                failure_config=FailureConfig(max_failures=resources.max_failures),
            ),
        )
        _fit(trainer, resources)


def _fit(trainer: Any, resources: TrainResources) -> None:
    from ray.train import TrainingFailedError

    try:
        trainer.fit()
    except TrainingFailedError as error:
        failures = getattr(error, "worker_failures", {}).values()
        for failure in failures:
            if isinstance(failure, UserError):
                raise failure from error
        reason = " ".join(f"{type(failure).__name__}: {failure}" for failure in failures) or error
        raise UserError(
            f"The training on Ray failed {resources.max_failures + 1} times: {reason}. See the logs of the "
            "workers, then run the same command again: it resumes from the last completed epoch."
        ) from error


def _call_in_worker(loop: Callable[[], Any], versions: Mapping[str, str]) -> None:
    check_versions(versions, LOCK)
    import torch
    from ray.train.torch import get_device

    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    loop()
