import pytest

from backbones import stable_diffusion
from tests.support import tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A tiny random checkpoint of the Stable Diffusion kind, not to be changed."""
    return tiny.save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_net(tiny_folder):
    """Its backbone, in torch on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NINE_WAYS_ENGINE", "torch")
        patch.setenv("NINE_WAYS_DEVICE", "cpu")
        return stable_diffusion.load(str(tiny_folder))
