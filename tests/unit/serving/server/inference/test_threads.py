import subprocess
import sys

import pytest

WORKER = """
import os, threading
from fb_marketplace_serving.server.inference.threads import make_thread_pool
os.nice({change})
read = lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
print(os.nice(0), make_thread_pool(1, "test", 5).submit(read).result())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities per thread")
@pytest.mark.parametrize("change", [0, 15])
def test_worker_has_low_priority_at_any_priority_of_the_process(change):
    code = WORKER.format(change=change)

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    process, worker = map(int, ended.stdout.split())
    assert worker == max(process, 5)
