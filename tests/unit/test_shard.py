"""Shards as bytes, against the vectors the C tests read too."""

from pathlib import Path

import numpy as np
import pytest
from reference_draw import encode_shard

from tinyfed.data.shard import read_shard, write_shard
from tinyfed.errors import UsageError

GOLDEN = [
    line.split()[1:]
    for line in (Path(__file__).parent.parent / "golden" / "shard.txt").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("words", GOLDEN)
def test_shards_of_the_golden_file(words: list[str]) -> None:
    status, encoded, *sizes = words
    data = b"" if encoded == "-" else bytes.fromhex(encoded)
    if status != "0":
        with pytest.raises(UsageError, match="shard"):
            read_shard(data)
        return
    shard = read_shard(data)
    targets = [] if shard.targets is None else [shard.targets.shape[1]]
    assert [shard.feature_count, len(shard.classes), shard.sample_count, *targets] == list(map(int, sizes))
    for label, samples in enumerate(shard.classes):
        assert samples[:, 0].tolist() == [label] * len(samples)
    written = write_shard(shard.classes, shard.targets)
    assert written == data[: len(written)]


def test_written_is_what_the_format_says() -> None:
    classes = [np.array([[c, i] for i in range(n)], np.float64) for c, n in enumerate((3, 1, 2, 5, 1))]
    assert write_shard(classes) == encode_shard([3, 1, 2, 5, 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ([], "0 classes"),
        ([np.zeros(3)], "class 0 has shape"),
        ([np.zeros((2, 0))], "class 0 has shape"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], r"class 1 has shape \(2, 4\), needed is \(samples, 3\)"),
        ([np.zeros((2, 3)), np.zeros((0, 3))], "class 1 has 0 samples"),
        ([np.zeros((65536, 1))], "65536 samples"),
        ([np.array([[1.0], [np.nan]])], "class 0 holds NaN"),
        ([np.array([[1e39]])], "class 0 holds NaN or infinity in float32"),
    ],
)
def test_samples_that_make_no_shard_are_refused(classes: list[np.ndarray], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        write_shard(classes)


def test_any_flipped_bit_is_found() -> None:
    data = encode_shard([2, 1])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UsageError, match="shard"):
            read_shard(bytes(damaged))
