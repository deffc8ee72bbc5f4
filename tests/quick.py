"""A pytest plugin that leaves the slow tests out: ``python -m pytest -p tests.quick``, or ``make quick``.

slow.txt names them, one a line: a file, or a test in it with all of its parameters. A test belongs there when
it takes more than about half a second, which ``--durations=20`` tells.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SLOW = Path(__file__).with_name("slow.txt")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what slow.txt names."""
    slow = set(SLOW.read_text("utf-8").split())
    kept, dropped = [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        (dropped if {test, test.partition("::")[0]} & slow else kept).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept
