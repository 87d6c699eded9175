import pytest

from harness.testing.tiny import TINY
from tests.support.harness_process import HarnessProcess

# Long enough to be killed in the middle, short enough to be done in seconds.
LONGER = (
    TINY.replace("train_size: 64", "train_size: 256")
    .replace("epochs: 3", "epochs: 8")
    .replace("      l1: {set: {loss.l1: 0.5}, why: sharper edges}\n", "")
    .replace("versus: l1", "versus: mse")
)


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suites") / "longer.yaml"
    path.write_text(LONGER)
    return path


@pytest.fixture(scope="session")
def undisturbed(suite, tmp_path_factory):
    """Return the store of a run that nothing happened to."""
    store = tmp_path_factory.mktemp("stores") / "undisturbed"
    run = HarnessProcess(suite, store, "--executor", "local")
    assert run.end() == 0, run.log.read_text()
    return store
