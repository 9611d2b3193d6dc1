"""Wait for a condition of another thread or process."""

import time


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about within ten seconds")
