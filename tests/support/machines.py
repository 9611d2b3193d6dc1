"""Machines for tests: network namespaces with addresses of their own, on a bridge that leads nowhere else.

Use it in a process that is the first of its network, PID and mount namespaces, as ``isolated`` starts it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

NETWORK = "10.77.0"
TIMEOUT_S = 1500


def isolated(*words: str, environment: Mapping[str, str], cwd: Path) -> str:
    """Run a Python script that must succeed in namespaces of its own, and return its output."""
    unshare = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    done = subprocess.run(
        [*unshare, sys.executable, *words],
        env=dict(environment),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@dataclass
class Network:
    """A bridge and the machines on it, which know each other by name.

    Attributes:
        folder: where each machine has its own folder, which is also its /tmp/ray.
        machines: process that keeps a machine's namespaces, by name.
    """

    folder: Path
    machines: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ip("link set lo up")
        _ip("link add bridge type bridge")
        _ip(f"addr add {NETWORK}.1/24 dev bridge")
        _ip("link set bridge up")
        self._hosts = self.folder / "hosts"
        self._hosts.write_text("127.0.0.1 localhost\n")
        # No name server: a program that asks for further addresses would wait for its answer.
        for source, target in ((self._hosts, "/etc/hosts"), ("/dev/null", "/etc/resolv.conf")):
            subprocess.run(["mount", "--bind", source, target], check=True)
        Path("/tmp/ray").mkdir(exist_ok=True)

    def add(self, name: str) -> None:
        """Add a machine."""
        number = len(self.machines) + 2
        (self.folder / name).mkdir()
        with self._hosts.open("a") as hosts:
            hosts.write(f"{NETWORK}.{number} {name}\n")
        holder = subprocess.Popen(["unshare", "--net", "--mount", "sleep", "infinity"])
        wait(lambda: _namespace(holder.pid) != _namespace(os.getpid()), lambda: name, 10)
        self.machines[name] = holder.pid
        _ip(f"link add port{number} type veth peer name eth0 netns {holder.pid}")
        _ip(f"link set port{number} master bridge up")
        for words in (
            "ip link set lo up",
            f"ip addr add {NETWORK}.{number}/24 dev eth0",
            "ip link set eth0 up",
            # It leads nowhere, but Ray takes the address of the default route.
            f"ip route add default via {NETWORK}.1",
            f"mount --bind {self.folder / name} /tmp/ray",
        ):
            subprocess.run([*self._enter(name), *words.split()], check=True)

    def start(
        self, name: str, words: list[str], environment: Mapping[str, str], cwd: Path
    ) -> "subprocess.Popen[bytes]":
        """Start a command on a machine. Its output is the file ``log`` of the folder."""
        with (self.folder / name / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._enter(name), *words], env=dict(environment), cwd=cwd, stdout=log, stderr=log
            )

    def address(self, name: str) -> str:
        """Return the address of a machine."""
        return f"{NETWORK}.{[*self.machines].index(name) + 2}"

    def log(self, name: str) -> str:
        """Return the end of the output of a machine."""
        return (self.folder / name / "log").read_text("utf-8", "replace")[-4000:]

    def processes(self, name: str, command: str) -> list[int]:
        """Return the processes of a machine whose command line contains a text."""
        namespace, pids = _namespace(self.machines[name]), []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if (
                    command.encode() in path.read_bytes()
                    and _namespace(path.parent.name) == namespace
                ):
                    pids.append(int(path.parent.name))
            except OSError:  # the process has ended
                continue
        return pids

    def check(self) -> None:
        """Check that no process of this PID namespace has another network interface."""
        interfaces = [
            line.split(":")[0].strip()
            for line in Path("/proc/net/dev").read_text().splitlines()[2:]
        ]
        ports = [f"port{number + 2}" for number in range(len(self.machines))]
        assert sorted(interfaces) == sorted(["bridge", "lo", *ports]), interfaces
        namespaces = {_namespace(pid) for pid in (os.getpid(), *self.machines.values())}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                assert _namespace(path.name) in namespaces, path
            except OSError:
                continue

    def _enter(self, name: str) -> list[str]:
        target = str(self.machines[name])
        return ["nsenter", "--target", target, "--net", "--mount"]


def wait(condition: Callable[[], object], message: Callable[[], str], seconds: float = 300) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(0.2)


def _namespace(pid: int | str) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)
