"""How closely a figure has to agree with one that was computed elsewhere."""

import pytest


def agrees(value):
    """Return `value` to ten digits: the same figure, but for the order of additions."""
    return pytest.approx(value, rel=1e-10, abs=1e-12)
