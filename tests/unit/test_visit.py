"""firmware/visit with a stand-in for the engine, under the address and undefined-behaviour sanitizers."""

import random
import subprocess
import zlib
from pathlib import Path

import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools
from reference_draw import draw, draw_line, encode_more, encode_order, encode_shard, flags_of

FLAGS = ["-std=c99", "-g", "-O1", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tools("gcc")
    program = tmp_path_factory.mktemp("visit") / "test_visit"
    core = ("core/model/layers.c", "core/math/exp.c")
    sources = [ROOT / "tests/c/visit/test_visit.c", *(FIRMWARE / name for name in core)]
    sources += RECIPE.sources(FIRMWARE, "base", "visit")
    includes = RECIPE.include_flags(FIRMWARE, "visit")
    subprocess.run(["gcc", *FLAGS, *WARNINGS, *includes, *sources, "-o", program], check=True, timeout=120)
    return program


def check(program: Path, lines: list[str]) -> None:
    done = subprocess.run(
        [program], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == f"{len(lines)} lines hold\n"


@pytest.mark.parametrize("name", ["order.txt", "shard.txt"])
def test_the_golden_vectors_hold_in_c(checker: Path, name: str) -> None:
    check(checker, (ROOT / "tests/golden" / name).read_text().splitlines())


def test_the_checker_finds_a_wrong_vector(checker: Path) -> None:
    counts = [4, 5, 6]
    line = draw_line(counts, encode_order(1, 2, 1, 2, 1, 3, 0.5, (1,)))
    check(checker, [line])
    kind, order, sizes, train, evaluate = line.split()
    swapped = ",".join(reversed(train.split(",")))
    assert swapped != train
    for wrong in (f"{kind} {order} {sizes} {swapped} {evaluate}", f"{kind} {order} {sizes} {train} {train}"):
        with pytest.raises(AssertionError, match="draw"):
            check(checker, [wrong])


@pytest.mark.parametrize("place", [16, 44])
def test_a_rate_is_taken_from_the_smallest_normal_number_to_1000(checker: Path, place: int) -> None:
    """The learning rate (byte 16) and FedProx's mu (byte 44): at both bounds, and one float32 past them."""
    order = encode_more(encode_order(1, 2, 1, 2, 1, 3, 0.5), update=1, proximal=0.25)

    def line(status: int, bits: int) -> str:
        data = order[:place] + bits.to_bytes(4, "little") + order[place + 4 :]
        rate, proximal = (data[at : at + 4][::-1].hex() for at in (16, 44))
        said = f" 1 2 1 2 1 3 {rate} 0 1 0 0 {proximal}" if status == 0 else ""
        return f"order {status} {data.hex()}{said}"

    taken, refused = (0x00800000, 0x447A0000), (0x007FFFFF, 0x447A0001)
    check(checker, [*(line(0, bits) for bits in taken), *(line(-1, bits) for bits in refused)])


def random_case(rng: random.Random) -> tuple[list[int], bytes]:
    ways = rng.choice([1, 2, 3, 4, 5, 10, 32])
    shots, queries, passes = rng.choice([1, 2, 3, 10, 25]), rng.choice([0, 1, 2, 5, 30]), rng.choice([1, 1, 1, 2, 7])
    least = shots + max(queries, 1)
    counts = [least + rng.choice([0, 0, 1, 5, 40]) for _ in range(ways + rng.choice([0, 0, 1, 3, 60]))]
    checkpoints = tuple(sorted(rng.sample(range(shots * passes + 1), min(rng.randrange(4), shots * passes + 1))))
    order = encode_order(1, ways, passes, shots, queries, rng.randrange(2**64), 0.02, checkpoints)
    if rng.random() < 0.5:
        flags = rng.choice([0, 2]) + rng.choice([0, 1])
        counts = counts[:ways] if flags & 1 else counts
        update = rng.randrange(5)
        start = rng.choice([0, 1, 7, counts[0], 2**32 - 1]) if flags & 2 else 0
        order = encode_more(order, update, flags, rng.choice([0, 1, 3, 10, 10_000]) if update else 0, start=start)
    return counts, order


def test_the_draw_is_the_one_in_the_specification(checker: Path) -> None:
    rng = random.Random(20261121)
    lines = []
    for _ in range(300):
        counts, order = random_case(rng)
        line = draw_line(counts, order)
        if order[20] == 0:  # without checkpoints nothing is evaluated
            line = " ".join([*line.split()[:4], "-"])
        lines.append(line)
    check(checker, lines)


def test_evaluation_never_uses_a_sample_of_the_stream() -> None:
    """Of the plain re-implementation, which the test above holds the C code to."""
    rng = random.Random(5)
    for _ in range(300):
        counts, order = random_case(rng)
        ways, passes = order[2], order[3]
        shots, queries = int.from_bytes(order[4:6], "little"), int.from_bytes(order[6:8], "little")
        seed = int.from_bytes(order[8:16], "little")
        train, evaluate = draw(counts, seed, ways, shots, queries, passes, *flags_of(order))
        used = {(c, i) for c, i, _ in train}
        judged = [(c, i) for c, i, _ in evaluate]
        assert len(used) == ways * shots and len(train) == ways * shots * passes
        assert len(set(judged)) == len(judged) and not used & set(judged)
        assert {label for _, _, label in train} == set(range(ways))
        for begin in range(0, len(train), ways):  # each round presents each class once
            assert sorted(label for _, _, label in train[begin : begin + ways]) == list(range(ways))
        if queries:
            assert len(judged) == ways * queries
        else:
            assert len(judged) == sum(counts[c] for c in {c for c, _ in used}) - ways * shots


def test_what_is_evaluated_does_not_change_what_is_learned() -> None:
    counts = [40, 50, 60]
    streams = [draw(counts, 99, 2, 5, queries)[0] for queries in (0, 1, 30)]
    assert streams[0] == streams[1] == streams[2]


def test_damaged_shards_are_never_read_outside(checker: Path) -> None:
    rng = random.Random(11)
    good = encode_shard([2, 1, 3, 1])
    lines = []
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(rng.choice([0, 1, 1, 2, 8])):
            data[rng.randrange(60)] = rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])
        data = data[: rng.choice([len(data), len(data), rng.randrange(len(data))])]
        if rng.random() < 0.7 and len(data) >= 32:  # let it get past the checksum
            total = int.from_bytes(data[24:28], "little")
            data[28:32] = zlib.crc32(bytes(data[:28] + data[32:total])).to_bytes(4, "little")
        lines.append(f"shard * {data.hex() or '-'}")
    check(checker, lines)
