"""A Ray head in a network namespace that has only loopback, and a command beside it.

Run as a script inside the namespace: ``ray_cluster.py WORKERS COMMAND...``. ``WORKERS`` is the Python of
the workers' environment.
"""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PORT = 6379
TIMEOUT_S = 590
KILLS = "KILL_RAY_WORKERS"
"""Environment variable: number of workers to kill while they work."""


def beside_head(
    workers: str,
    *words: str,
    environment: Mapping[str, str],
    cwd: Path = PROJECT,
    seconds: float = TIMEOUT_S,
) -> str:
    """Run a command that must succeed beside a head of its own, and return its output."""
    unshare = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    done = subprocess.run(
        [*unshare, sys.executable, __file__, workers, *words],
        env=dict(environment),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def main(workers: str, *words: str) -> int:
    """Start the head, and run the command."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    environment = os.environ | token
    # The driver's code must not reach the workers by accident.
    worker_environment = {
        name: value for name, value in environment.items() if name != "PYTHONPATH"
    }
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        subprocess.run(
            [
                *(workers, "-m", "ray.scripts.scripts", "start", "--head", f"--port={PORT}"),
                *("--node-ip-address=127.0.0.1", "--num-cpus=2", "--include-dashboard=false"),
                *("--object-store-memory=200000000", "--disable-usage-stats"),
                f"--temp-dir={folder}",
            ],
            env=worker_environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        _check_network()
        command = subprocess.Popen(words, env=environment | {"RAY_ADDRESS": f"127.0.0.1:{PORT}"})
        kills = int(os.environ.get(KILLS, "0"))
        while command.poll() is None:
            if kills and (working := _working()):
                os.kill(working[0], 9)
                sys.stdout.write(f"killed {working[0]}\n")
                kills -= 1
                time.sleep(2)
            time.sleep(0.05)
        _check_network()
        return command.returncode


def _check_network() -> None:
    """Check that every process is in this namespace, whose only interface is loopback."""
    interfaces = [
        line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]
    ]
    assert interfaces == ["lo"], interfaces
    for namespace in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            target = namespace.readlink()
        except OSError:  # the process has ended
            continue
        assert target == Path("/proc/self/ns/net").readlink(), namespace


def _working() -> list[int]:
    """Return the processes of workers that are working on a shard."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_run"):
                processes.append(int(path.parent.name))
        except OSError:
            continue
    return processes


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
