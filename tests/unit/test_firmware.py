"""Building firmware: cached, reproducible, and clear about what is missing."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import require_tools
from tinyfed_host.firmware import build

from tinyfed import boards, paths
from tinyfed.boards import Board, read_board
from tinyfed.engine.core import hash64
from tinyfed.errors import BuildError, MissingToolError, UsageError


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """firmware/ and boards/ in another place, which may be changed."""
    root = tmp_path / "elsewhere"
    ignore = shutil.ignore_patterns(".pio", "__pycache__")
    shutil.copytree(paths.share() / "firmware", root / "firmware", ignore=ignore)
    shutil.copytree(paths.share() / "boards", root / "boards")
    monkeypatch.setattr(build, "share", lambda: root)
    monkeypatch.setattr(boards, "share", lambda: root)
    build.recipe.cache_clear()
    yield root
    build.recipe.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mps2_an386", "native"])
def test_the_same_sources_give_the_same_bytes(
    name: str, own_cache: Path, copy_of_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tools("arm-none-eabi-gcc")
    here = build.build(name)
    first = here.read_bytes()
    found = build.info(here)
    assert (found.board, found.build_id, found.model_bytes) == (name, here.parent.name.split("-")[1], 0)
    assert build.build(name) == here, "the second time it comes from the cache"
    moved = copy_of_sources.with_name("another_place")
    copy_of_sources.rename(moved)
    monkeypatch.setattr(build, "share", lambda: moved)
    monkeypatch.setattr(boards, "share", lambda: moved)
    monkeypatch.setenv("XDG_CACHE_HOME", str(moved / "deeper" / "a cache of another name"))
    build.recipe.cache_clear()
    again = build.build(read_board(name, moved / "boards"), force=True)
    assert again.name == here.name and again.parent.name == here.parent.name, "the build id is the same"
    assert again != here and again.read_bytes() == first


def test_the_build_id_follows_sources_board_and_model(copy_of_sources: Path) -> None:
    require_tools("arm-none-eabi-gcc")
    board = read_board("mps2_an386", copy_of_sources / "boards")
    identity = build.build_id(board)
    assert len(identity) == 16 and int(identity, 16) > 0
    assert build.build_id(board) == identity
    assert build.build_id(board, b"model") != identity
    other = read_board("raspberrypi", copy_of_sources / "boards")
    require_tools("aarch64-linux-gnu-gcc")
    assert build.build_id(other) != identity
    source = copy_of_sources / "firmware" / "app" / "main.c"
    source.write_text(source.read_text() + "/* changed */\n")
    assert build.build_id(board) != identity


@pytest.mark.slow
def test_a_compile_error_is_one_line(own_cache: Path, copy_of_sources: Path) -> None:
    (copy_of_sources / "firmware" / "app" / "main.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(BuildError) as caught:
        build.build("native")
    message = str(caught.value)
    assert "building for native failed" in message and "nothing" in message and "undeclared" in message
    assert "\n" not in message
    assert not list((own_cache / "tinyfed" / "firmware").glob("native-*/firmware.elf"))


def changed(board: Board, **compiler: Any) -> Board:
    from dataclasses import replace

    manifest = {**board.manifest, "tinyfed": {**board.manifest["tinyfed"]}}
    manifest["tinyfed"]["compiler"] = {**manifest["tinyfed"]["compiler"], **compiler}
    return replace(board, compiler=replace(board.compiler, **compiler), manifest=manifest)


def test_a_missing_compiler_names_its_package() -> None:
    board = changed(read_board("mps2_an386"), prefix="no-such-arm-")
    with pytest.raises(MissingToolError, match=r"no-such-arm-gcc is not installed: sudo apt-get install gcc-arm"):
        build.build(board)


def test_an_unreadable_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.tfm: cannot be read: No such file"):
        build.build("native", model=tmp_path / "none.tfm")


@pytest.mark.slow
def test_an_embedded_model_is_told(tmp_path: Path) -> None:
    model = tmp_path / "net.tfm"
    model.write_bytes(bytes(range(200)))
    found = build.info(build.build("native", model=model))
    assert (found.model_bytes, found.model_hash) == (200, build.recipe().model_hash(model.read_bytes()))


@pytest.mark.parametrize("hashed", [build.recipe().model_hash, hash64])
def test_the_recipe_and_the_engine_hash_alike(hashed: Callable[[bytes], int]) -> None:
    # The FNV project's own test vectors: "" and "foobar".
    assert hashed(b"") == 0xCBF29CE484222325
    assert hashed(b"foobar") == 0x85944171F73967E8
    assert hashed(bytes(range(256))) == build.recipe().model_hash(bytes(range(256)))


def test_what_is_no_image_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.elf"
    other.write_bytes(b"\x7fELF" + build.INFO_MAGIC + bytes(20))
    with pytest.raises(UsageError, match=r"other\.elf: not a tinyfed firmware image"):
        build.info(other)
    with pytest.raises(UsageError, match=r"none: cannot be read"):
        build.info(tmp_path / "none")


def test_an_embedded_model_is_the_same_bytes() -> None:
    image = bytes(range(256)) * 3 + b"\x01"
    source = build.recipe().model_source(image)
    inside = source[source.index("= {") + 3 : source.rindex("}")]
    assert bytes(int(word, 16) for word in inside.replace("\n", " ").split(",")) == image


def test_seed_needs_no_registry_and_is_repeatable(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "core_folder", lambda: own_cache / "platformio")
    folder = build.seed()
    package = folder / "packages" / "tool-scons"
    before = {path.name: path.stat().st_mtime_ns for path in package.iterdir()}
    assert set(before) == {"package.json", ".piopm", "scons.py"}
    build.seed()
    assert {path.name: path.stat().st_mtime_ns for path in package.iterdir()} == before


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("Compiling\nmain.c:3: error: x undeclared\n*** Error 1", "main.c:3: error: x undeclared"),
        ("a.c:1: undefined reference to `f'\ncollect2: error: ld returned 1", "a.c:1: undefined reference to `f'"),
        ("region `RAM' overflowed by 20 bytes\ncollect2: error: ld", "region `RAM' overflowed by 20 bytes"),
        ("", "PlatformIO said nothing"),
    ],
)
def test_the_first_error_is_found(output: str, told: str) -> None:
    assert build.first_error(output) == told


def test_a_registry_out_of_reach_is_no_fault_of_the_sources(tmp_path: Path) -> None:
    error = build.failure("nano33ble", "Tool Manager: Installing\nHTTPClientError: \n", tmp_path / "log")
    assert isinstance(error, build.RegistryError) and error.exit_code == 6
    assert (error.where, error.remedy) == ("nano33ble", "go online and try again")
    error = build.failure("nano33ble", "main.c:3: error: x undeclared", tmp_path / "log")
    assert not isinstance(error, build.RegistryError) and "x undeclared" in error.problem


@pytest.mark.slow
def test_the_firmware_is_within_its_budget() -> None:
    require_tools("arm-none-eabi-gcc")
    # One board of each port: the others differ from it in data. `tinyfed firmware size` holds them all.
    for board in {board.port: board for board in boards.read_boards() if board.budget is not None}.values():
        assert board.budget is not None
        taken = build.size(board)
        lean = build.size(board, build.build(board, dense_only=True))
        assert 0 < lean.flash < taken.flash <= board.budget.flash_bytes, board.name
        assert lean.flash <= board.budget.dense_flash_bytes, board.name
        assert 0 < taken.ram <= board.budget.ram_bytes, board.name
        assert taken.arena == board.arena_bytes
