"""exp, log, tanh and sin against float64 over all exponents and signs: the bounds of docs/numerics.md."""

import numpy as np
import pytest

from tinyfed import engine
from tinyfed.engine import crc32, hash64

STRIDE = 1021  # of the bit patterns: 8,216 mantissas for each sign and exponent


def all_exponents():
    with np.errstate(invalid="ignore"):
        values = np.arange(0, 2**32, STRIDE, dtype=np.int64).astype(np.uint32).view(np.float32)
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4028235e38], np.float32)
    return np.concatenate([values, edges])


def ulps(actual, exact):
    """Distance in units of the last place of the exact result (of the smallest normal below it)."""
    spacing = np.spacing(np.maximum(np.abs(exact), 2.0**-126).astype(np.float32)).astype(np.float64)
    return np.abs(actual.astype(np.float64) - exact) / spacing


@pytest.mark.parametrize(
    ("name", "bound", "low", "high"),
    [
        ("exp", 1.0, -np.inf, 88.72283),
        ("log", 0.9, 0.0, np.inf),
        ("tanh", 5.7, -np.inf, np.inf),
    ],
)
def test_the_error_in_units_of_the_last_place(name, bound, low, high):
    x = all_exponents()
    x = x[(x > low) & (x <= high) & np.isfinite(x)]
    worst = ulps(getattr(engine, name)(x), getattr(np, name)(x.astype(np.float64)))
    print(f"{name}: {worst.max():.3f} units at {x[worst.argmax()]!r} of {len(x)} values")
    assert worst.max() <= bound


def test_the_absolute_error_of_sine():
    x = all_exponents()
    x = x[np.abs(x) <= 8192]
    worst = np.abs(engine.sin(x).astype(np.float64) - np.sin(x.astype(np.float64)))
    print(f"sin: {worst.max():.3g} of {len(x)} values")
    assert worst.max() <= 8.5e-8


def test_what_lies_outside():
    inf, nan = np.inf, np.nan
    for function, x, y in [
        ("exp", [inf, -inf, nan, 89, -104.5, 0], [inf, 0, nan, inf, 0, 1]),
        ("log", [inf, 0, -0.0, -1, nan, 1], [inf, -inf, -inf, nan, nan, 0]),
        ("tanh", [inf, -inf, nan, 20, -20, 1e-40], [1, -1, nan, 1, -1, 1e-40]),
        ("sin", [inf, nan, 8193, -0.0, 1e-40], [nan, nan, nan, -0.0, 1e-40]),
    ]:
        actual = getattr(engine, function)(np.array(x, np.float32))
        expected = np.array(y, np.float32)
        np.testing.assert_array_equal(actual, expected, err_msg=function)
        np.testing.assert_array_equal(np.signbit(actual[expected == 0]), np.signbit(expected[expected == 0]))


def test_tanh_never_leaves_its_range_and_is_odd():
    x = all_exponents()
    y = engine.tanh(x[np.isfinite(x)])
    assert np.abs(y).max() == 1.0
    np.testing.assert_array_equal(engine.tanh(-x), -engine.tanh(x))


def test_checksums_are_the_standard_ones():
    assert crc32(b"123456789") == 0xCBF43926
    assert crc32(b"6789", crc32(b"12345")) == 0xCBF43926
    assert hash64(b"") == 0xCBF29CE484222325
    assert hash64(b"foobar") == 0x85944171F73967E8  # of the FNV authors' own vectors
