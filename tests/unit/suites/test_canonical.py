import hashlib

import pytest

from harness.canonical import canonical_json, content_hash


def test_key_order_does_not_matter():
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'


def test_the_hash_is_the_first_sixteen_digits_of_sha_256_over_version_and_value():
    text = '{"identity_version":2,"value":{"a":"ä"}}'
    assert content_hash({"a": "ä"}) == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("value", [{1: "x"}, {"a": {2: "x"}}, [{None: 1}], {"a": {1, 2}}, {"a": b"x"}])
def test_what_is_not_json_is_an_error_never_null(value):
    with pytest.raises(TypeError):
        canonical_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_an_error(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([value])
