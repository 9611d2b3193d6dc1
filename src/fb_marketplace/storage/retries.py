"""Work on a Lance table, begun anew where the store failed in its middle.

Lance asks again for itself where that is safe (see ``storage.LANCE_DEFAULTS``). What is not safe for it
is the put that makes a version: when its answer is lost, Lance cannot know whether it was made, and gives
up. Whoever opens the table anew sees what is there, and does what is left: all work on our tables may be
done twice, since rows have keys.
"""

import random
import time
from collections.abc import Callable
from functools import wraps
from itertools import count
from typing import Final, ParamSpec, TypeVar

TRIES: Final = 5
PATIENCE: Final = 20.0
"""Seconds after which nothing is begun anew."""

FEWEST_TRIES: Final = 2
"""Whatever they took: work that breaks off after longer than the patience may have been well under way.
No more, since what Lance says does not tell it from a store that hangs, at which each try takes 33 s.
"""

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 4.0
"""Seconds; each wait is drawn from nothing up to twice the bound of the one before."""

Told = ParamSpec("Told")
Result = TypeVar("Result")


def again_if_broken(work: Callable[Told, Result]) -> Callable[Told, Result]:
    """Have work on a table that may be done twice begun anew where the store failed in its middle.

    Raises:
        ConnectionError: the store failed as often as it was tried.
    """

    @wraps(work)
    def patient(*told: Told.args, **more: Told.kwargs) -> Result:
        started = time.monotonic()
        for attempt in count(1):
            try:
                return work(*told, **more)
            except (OSError, RuntimeError, ValueError) as error:
                if not _of_store(error):
                    raise
                spent = time.monotonic() - started
                if attempt == TRIES or (attempt >= FEWEST_TRIES and spent > PATIENCE):
                    raise _given_up(error, attempt, spent) from None
            time.sleep(random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)))
        raise AssertionError("it counts for ever")

    return patient


def _of_store(error: Exception) -> bool:
    """Tell a store that fails from a table that is not there, or is not as it should be.

    pylance says both by the same exceptions, with what Rust said as their text.
    """
    said = str(error)
    return "LanceError(IO)" in said and "not found" not in said.lower()


def _given_up(error: Exception, attempts: int, seconds: float) -> OSError:
    said = " ".join(str(error).split())
    # What the store answered, in XML, is longer than a line, and the place in Lance's code is no help.
    said = said.partition(" <?xml")[0].partition(", /")[0].removeprefix("LanceError(IO): ")
    return ConnectionError(
        f"found no answer in {attempts} tries and {seconds:.0f} s, at last {said}; expected one: run again "
        "when the store answers, what is done is kept"
    )
