"""A lazy attribute is worked out once for each object."""

import copy
import pickle

import torch

from registry_losses.ops.box_pair import BoxPair
from registry_losses.ops.lazy import lazy


class Counted:
    """Counts how often its value is worked out."""

    count = 0

    @lazy
    def value(self) -> int:
        """A number."""
        self.count += 1
        return self.count


def test_is_worked_out_once_for_each_object():
    one, other = Counted(), Counted()
    assert [one.value, one.value, other.value] == [1, 1, 1]
    assert Counted.value.__doc__ == 'A number.'


def test_copies_keep_what_is_known():
    pair = BoxPair(torch.tensor([0.0, 0.0, 4.0, 2.0]), torch.tensor([2.0, 0.0, 6.0, 2.0]))
    assert pair.union == 12
    for copied in (copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):
        assert copied.union == 12 and copied.overlap == 4
