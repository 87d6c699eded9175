"""A store that went away is not one that holds nothing, and is never begun anew."""

import pytest

from harness.errors import StoreError
from harness.store.files import LocalFiles
from harness.store.write import create_store
from harness.train.checkpoint import save_weights


@pytest.fixture
def away(tmp_path):
    """Return the writer of a store whose folder was renamed, and what brings it back."""
    store = create_store(tmp_path / "store")
    store.files.write("runs/one", b"1")
    store.root.rename(tmp_path / "away")
    return store, lambda: (tmp_path / "away").rename(store.root)


def test_nothing_is_read_as_absent_while_the_store_is_away(away):
    store, come_back = away
    for ask in (
        lambda: store.files.read("runs/one"),
        lambda: store.files.names("attempts"),
        lambda: store.files.files_below("attempts"),
        lambda: store.reader().heads_of("0123456789ab"),
        lambda: store.reader().attempt("0123456789ab", 1),
    ):
        with pytest.raises(StoreError, match="is gone"):
            ask()
    come_back()
    assert store.files.read("runs/one") == b"1"
    assert store.files.names("attempts") == []


def test_writing_does_not_make_the_store_anew(away, tmp_path):
    store, come_back = away
    for write in (
        lambda: store.files.write("runs/two", b"2"),
        lambda: store.files.create("leases/one.1", b""),
        lambda: store.files.local_folder("artifacts/one/0001"),
        lambda: save_weights({}, store.root / "artifacts" / "one" / "best.safetensors"),
    ):
        with pytest.raises(StoreError):
            write()
    assert not store.root.exists()
    come_back()
    assert store.files.names("runs") == ["one"]


def test_a_store_that_never_was_holds_nothing(tmp_path):
    assert LocalFiles(tmp_path / "none").names("runs") == []
