"""How cores are shared out."""

import pytest

from shallow2deep.runs.parallel import threads_each


@pytest.mark.parametrize(("jobs", "items", "threads"), [(8, 1, 8), (8, 3, 2), (2, 5, 1), (4, 0, 4)])
def test_few_items_take_all_cores(jobs: int, items: int, threads: int) -> None:
    assert threads_each(jobs, items) == threads
