"""Wait for a condition of another thread or process."""

import time


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"it did not come about within {seconds} seconds")
