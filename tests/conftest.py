"""What all tests share: one thread, and which process runs which file."""

import gc
import os
from pathlib import Path

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

torch.set_num_threads(1)  # small tensors: threads only cost, and sums keep their order

BROWSER = Path(__file__).parent / "browser"


class FileByFile(LoadScopeScheduling):
    """A process takes a whole file, that its fixtures are made once, and one process all tests in the browser: one app
    is started, and while it waits for a page, the other process computes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "browser" if f"/{BROWSER.name}/" in file else file


def pytest_xdist_auto_num_workers(config):
    """One more than cores where there is a browser: whoever looks at a page waits for most of the time."""
    return (os.cpu_count() or 1) + ("not browser" not in config.option.markexpr)


def pytest_xdist_make_scheduler(config, log):
    return FileByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported stays: looking through it for garbage would only take time, now and at each later collection."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Long ones first, that no process is left alone with one in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.parent != BROWSER, item.path not in slow))  # stable
