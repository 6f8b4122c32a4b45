"""What all benchmarks run under."""

import pytest

from timing import one_thread


@pytest.fixture(autouse=True)
def _one_thread():
    yield from one_thread()
