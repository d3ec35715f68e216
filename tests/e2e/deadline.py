"""Waiting for what will come, never for a fixed time."""

import time


def eventually(look, seconds=90, what=None):
    """Returns the first true answer of `look`; fails when none came within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what or look.__name__} did not come within {seconds} s; last seen: {found!r}")
        time.sleep(0.02)
