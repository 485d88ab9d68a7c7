"""The log-mel front end of firmware/visit: against NumPy's FFT, whose bits tests/parity compares."""

import numpy as np
import pytest

from tinyfed.engine import _device
from tinyfed.tasks.fsdd import BANDS, FRAMES, log_mel

EDGES = [3, 5, 7, 10, 13, 16, 19, 23, 27, 31, 36, 41, 46, 52, 59, 66, 74, 83, 92, 102, 113, 125]


def samples(count: int, seed: int = 1) -> np.ndarray:
    time = np.arange(count) / 8000
    tone = np.sin(2 * np.pi * (300 + 2000 * time) * time) * 8000
    noise: np.ndarray = (tone + np.random.default_rng(seed).normal(0, 300, count)).astype(np.int16)
    return noise


def reference(x: np.ndarray) -> np.ndarray:
    """In float64, with NumPy's FFT."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    spare = max(0, len(x) - 256)
    padded = np.concatenate([x / 32768, np.zeros(256)])
    rows = []
    for frame in range(FRAMES):
        start = spare * frame // (FRAMES - 1)
        power = np.abs(np.fft.rfft(padded[start : start + 256] * window)) ** 2
        row = []
        for b in range(BANDS):
            low, peak, high = EDGES[b : b + 3]
            weights = {i: (i - low) / (peak - low) for i in range(low + 1, peak + 1)}
            weights |= {i: (high - i) / (high - peak) for i in range(peak + 1, high)}
            row.append(np.log(sum(power[i] * w for i, w in weights.items()) + 1e-6))
        rows.append(row)
    values = np.array(rows)
    return (values - values.mean()) / 4


@pytest.mark.parametrize("count", [1, 100, 256, 257, 3000, 18000])
def test_features_are_those_of_the_textbook(count: int) -> None:
    x = samples(count)
    np.testing.assert_allclose(log_mel(x), reference(x), atol=2e-4)


def test_loudness_does_not_matter_but_the_word_does() -> None:
    x = samples(3000)
    quiet = log_mel((x // 2).astype(np.int16))
    assert np.abs(quiet - log_mel(x)).mean() < 0.02 < np.abs(log_mel(x[::-1].copy()) - log_mel(x)).mean()


def test_the_edges_are_even_in_mel() -> None:
    """22 points from 80 to 3,900 Hz, rounded to bins of 31.25 Hz, at least one bin apart."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (80, 3900))
    expected: list[int] = []
    for mel in np.linspace(low, high, BANDS + 2):
        bin_ = round(700 * (10 ** (mel / 2595) - 1) / 31.25)
        expected.append(max(bin_, expected[-1] + 1) if expected else bin_)
    assert expected == EDGES


def test_nothing_is_refused() -> None:
    with pytest.raises(_device.StatusError):
        _device.log_mel(b"")
