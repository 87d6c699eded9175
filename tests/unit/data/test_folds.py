import numpy as np
import pytest
import torch

from harness.data.folds import Subset, cross_validation, parts


class Numbers:
    """Twenty samples, each ten times its index."""

    def __len__(self):
        return 20

    def batch(self, indices):
        index = torch.tensor(indices, dtype=torch.int64)
        return {"value": 10 * index, "index": index}


@pytest.mark.parametrize(("size", "folds"), [(20, 2), (20, 3), (64, 5), (7, 7), (100, 9)])
def test_parts_are_disjoint_cover_the_split_and_are_of_equal_size(size, folds):
    cut = parts(size, folds)
    assert len(cut) == folds
    assert sorted(np.concatenate(cut).tolist()) == list(range(size))
    sizes = {len(part) for part in cut}
    assert max(sizes) - min(sizes) <= 1


def test_parts_are_mixed_and_always_the_same():
    """If this fails, every stored trial of a fold was trained on other samples."""
    assert [part.tolist() for part in parts(10, 3)] == GOLDEN


GOLDEN = [[2, 4, 6, 7], [3, 5, 9], [0, 1, 8]]


def test_every_number_of_parts_cuts_the_same_permutation():
    halves, quarters = parts(40, 2), parts(40, 4)
    assert set(halves[0]) == set(quarters[0]) | set(quarters[1])


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_fold_trains_on_what_it_does_not_validate_on(fold):
    train, validation = cross_validation(Numbers(), folds=3, fold=fold)
    trained = train.batch(range(len(train)))["index"].tolist()
    validated = validation.batch(range(len(validation)))["index"].tolist()
    assert validated == parts(20, 3)[fold].tolist()
    assert sorted(trained + validated) == list(range(20))


def test_a_batch_keeps_its_order_and_the_index_of_the_whole_split():
    subset = Subset(Numbers(), np.array([3, 5, 11, 19]))
    batch = subset.batch([2, 0])
    assert len(subset) == 4
    assert batch["index"].tolist() == [11, 3]
    assert batch["value"].tolist() == [110, 30]
    with pytest.raises(IndexError):
        subset.batch([4])
