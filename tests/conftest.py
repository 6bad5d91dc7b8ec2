from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # small tensors: threads only cost, and sums keep their order

BROWSER = Path(__file__).parent / "browser"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One process has all tests in the browser: one app is started, and while it waits for a page, the other process
    computes. Every other file is a group, too, that its fixtures are made once; those with slow tests come first, so
    that no process is left alone with one in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    for item in items:
        group = "browser" if item.path.parent == BROWSER else item.path.relative_to(BROWSER.parent).as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (item.path.parent != BROWSER, item.path not in slow))  # stable
