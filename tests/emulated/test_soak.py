"""Short forms of `make soak`: many boards, spoilt lines, boards that lose power."""

from pathlib import Path

import pytest
import soak
from conftest import require_tools


@pytest.mark.slow
def test_sixteen_boards_for_a_minute(tmp_path: Path) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    found = soak.soak_fleet(tmp_path, "mps2_an386", boards=16, seconds=60.0)
    print(found)
    assert all(found["kept"].values()), found
    assert found["visits"] >= 16 * 4


@pytest.mark.slow
def test_spoilt_line_gives_the_faultless_weights(tmp_path: Path) -> None:
    """One bit in 10,000 flipped and one frame in 100 lost, both ways; 30 rounds are 190 KB."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    found = soak.soak_line(tmp_path, "mps2_an386", rounds=30, seed=7)
    print(found)
    assert all(found["kept"].values()), found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "how", "strikes"),
    [("native", "kill", 15), ("mps2_an386", "kill", 10), ("mps2_an386", "reset", 20), ("netduinoplus2", "reset", 20)],
)
def test_boards_that_lose_power_or_are_reset_come_back(tmp_path: Path, board: str, how: str, strikes: int) -> None:
    require_tools("gcc", "qemu-system-arm", "arm-none-eabi-gcc")
    found = soak.soak_power(tmp_path, board, strikes, seed=3, how=how)
    print(found)
    assert all(found["kept"].values()), found
    assert found["visits_repeated"] >= 1, "no strike came in the middle of a visit"


@pytest.mark.slow
def test_a_man_in_the_middle_has_nothing_silently_other() -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    found = soak.soak_middle("mps2_an386", runs=4, seed=11, seconds=120.0)
    print(found)
    assert all(found["kept"].values()), found
