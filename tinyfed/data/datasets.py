"""Published data sets: where they come from, where they lie, whether they are what was published.

The files are looked for in the folder `$TINYFED_DATA/NAME`, then in the user's cache, where `tinyfed data fetch NAME`
puts them; it adds to a folder what is missing there. What counts is the content: an archive that was packed anew with
the same members is the same data set.
"""

import contextlib
import hashlib
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from tinyfed import paths
from tinyfed.errors import UsageError
from tinyfed.files import TemporaryFolder, flush_tree
from tinyfed.reading import DATA_BYTES_MAX, read_bytes, size_text

_RAW = "https://raw.githubusercontent.com"
_OMNIGLOT = f"{_RAW}/brendenlake/omniglot/057f034baf2ecb8530bc5710e5a23584d2a519cc/python"
_OCCUPANCY = f"{_RAW}/LuisM78/Occupancy-detection-data/ba2b1d7b53a71292ff61b867d3e16f0e539c7eb6"
_ROBOD = f"{_RAW}/ideas-lab-nus/robod/6577c3b0fe734b6d6977cf23ef3ef8d79850d0c1/Data"
_FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip"


@dataclass(frozen=True)
class Dataset:
    """A published data set."""

    name: str
    summary: str
    clients: str  # what makes its clients differ
    licence: str
    source: str  # to cite
    files: tuple[tuple[str, str], ...]  # (file name, official address)
    suffix: str  # of the members that count
    member_count: int
    sha256: str  # of the lines "NAME SHA256-OF-CONTENT", sorted by name
    keep_folders: bool = False  # member names keep their folders
    contents: tuple[tuple[str, str], ...] = ()  # (member, SHA-256 of its content), where they are few


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "omniglot",
            "1,623 handwritten characters x 20 drawers, 105x105 pixels",
            "character sets",
            "MIT",
            "Lake, Salakhutdinov, Tenenbaum, Science 350 (2015)",
            tuple((f"images_{part}.zip", f"{_OMNIGLOT}/images_{part}.zip") for part in ("background", "evaluation")),
            ".png",
            32_460,
            "e2afe22291df32d4091f2d3af1c6f3a0f48b62902000d411e75b070ee232d405",
            keep_folders=True,
        ),
        Dataset(
            "fsdd",
            "3,000 spoken digits, 8 kHz, 6 speakers x 10 words x 50",
            "speaker",
            "CC BY-SA 4.0",
            "Jackson et al., Free Spoken Digit Dataset",
            (("fsdd.zip", _FSDD),),
            ".wav",
            3_000,
            "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f",
        ),
        Dataset(
            "occupancy",
            "presence in one office, 20,560 minutes: temperature, humidity, light, CO2",
            "day",
            "CC BY 4.0 (as reported)",
            "Candanedo, Feldheim, Energy and Buildings 112 (2016)",
            tuple((name, f"{_OCCUPANCY}/{name}") for name in ("datatest.txt", "datatest2.txt", "datatraining.txt")),
            ".txt",
            3,
            "cb416a737fb97f5c96a6bc96a6570a3e5af40d938e293045b0dd731771084d3a",
            contents=(
                ("datatest.txt", "1b92c7c1b2838963464fa891a610cf3c5db4becb7189189b29b330107a584c7f"),
                ("datatest2.txt", "d026d1bd5aeccd4aff4f3b3710d48e40613bd5fc370db7e61bbdcaa50d985095"),
                ("datatraining.txt", "b2c4d0ce2b9e4e453c476f7125ef31aeec2d1f5c7f5572d0e80de3df6521ab56"),
            ),
        ),
        Dataset(
            "robod",
            "presence and count in 3 rooms, 29 days each, 5 minutes a row",
            "room, day",
            "CC BY 4.0 (as reported)",
            "Tekler et al., Building Simulation 15 (2022)",
            tuple((f"combined_Room{n}.csv", f"{_ROBOD}/combined_Room{n}.csv") for n in (1, 2, 3)),
            ".csv",
            3,
            "a37c8224080703893eb453dd2ddef102193a811fd6cf0d6510e79362ca392465",
            contents=(
                ("combined_Room1.csv", "34a3d7a1946945c5321f06fbe38639d74e47e40fdd0df086c635d3ed73a63f3d"),
                ("combined_Room2.csv", "ac9a34cd7149814bc31be26c75d0481c6c205e3cc0e0775d42f963b86a90941f"),
                ("combined_Room3.csv", "be7dcfabe03ee398a54c680fc338ac1768d2a099dff14f9f3f2baab92bdddaab"),
            ),
        ),
    )
}


_Found: TypeAlias = dict[str, tuple[bytes, Path]]  # content and file of each member
# What reading a damaged archive raises.
_DAMAGE = (
    OSError, EOFError, ValueError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile, lzma.LZMAError,
    tarfile.TarError,
)  # fmt: skip


def dataset(name: str) -> Dataset:
    """The data set of that name. Raises UsageError."""
    if name not in DATASETS:
        raise UsageError(f"data: {name!r} is unknown, allowed are {', '.join(DATASETS)}")
    return DATASETS[name]


def cache_folder(name: str) -> Path:
    """Where `fetch` puts it."""
    return paths.cache() / "data" / name


def folder(name: str) -> Path | None:
    """Where its files lie, or None."""
    given = os.environ.get("TINYFED_DATA")
    places = ([Path(given) / name] if given else []) + [cache_folder(name)]
    return next((place for place in places if place.is_dir() and any(place.iterdir())), None)


def read(name: str) -> dict[str, bytes]:
    """The members by name, checked. Raises UsageError when they are missing, damaged or another version."""
    wanted = dataset(name)
    place = folder(name)
    if place is None:
        raise UsageError(
            f"data {name}: not here: run `tinyfed data fetch {name}`, or set TINYFED_DATA to a folder with {name}/"
        )
    return _read(wanted, place)


@lru_cache(maxsize=2)
def _read(wanted: Dataset, place: Path) -> dict[str, bytes]:
    found = _collect(wanted, place)
    _check(wanted, found, place)
    return {name: content for name, (content, _) in found.items()}


def _collect(wanted: Dataset, place: Path) -> _Found:
    files = [path for path in sorted(place.iterdir()) if path.is_file()] if place.is_dir() else []
    return {name: (content, path) for path in files for name, content in _members(path, wanted)}


def _check(wanted: Dataset, found: _Found, place: Path) -> None:
    """Raises UsageError, naming the file, unless these are the published members."""
    fetch_it = f"run `tinyfed data fetch {wanted.name}`"
    _check_contents(wanted, found)
    missing = _missing(wanted, found, place)
    if missing:
        raise UsageError(f"data {wanted.name}: {place} lacks {', '.join(missing)}: {fetch_it}")
    archives = _archives(found) or ", ".join(name for name, _ in wanted.files)
    if len(found) != wanted.member_count:
        raise UsageError(
            f"data {wanted.name}: {archives} of {place} has {len(found)} {wanted.suffix} files of "
            f"{wanted.member_count}: remove {archives} and {fetch_it}"
        )
    if digest({name: content for name, (content, _) in found.items()}) != wanted.sha256:
        raise UsageError(
            f"data {wanted.name}: the {wanted.suffix} files in {archives} of {place} are not those published "
            f"(SHA-256 differs): remove {archives} and {fetch_it}"
        )


def _check_contents(wanted: Dataset, found: _Found) -> None:
    for name, sha256 in wanted.contents:
        content, path = found.get(name, (None, Path()))
        if content is not None and hashlib.sha256(content).hexdigest() != sha256:
            what = path if path.name == name else f"{name} in {path}"
            raise UsageError(
                f"data {wanted.name}: {what} is not the published file (SHA-256 differs): "
                f"remove {path.name} and run `tinyfed data fetch {wanted.name}`"
            )


def _missing(wanted: Dataset, found: _Found, place: Path) -> list[str]:
    """The published files whose content is not here."""
    if wanted.contents:
        return [name for name, _ in wanted.contents if name not in found]
    if len(found) >= wanted.member_count:
        return []
    return [name for name, _ in wanted.files if not (place / name).exists()]


def _archives(found: _Found) -> str:
    return ", ".join(sorted({path.name for _, path in found.values()}))


def digest(members: dict[str, bytes]) -> str:
    """SHA-256 of the lines "NAME SHA256-OF-CONTENT", sorted by name."""
    whole = hashlib.sha256()
    for name, content in sorted(members.items()):
        whole.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()


def _members(path: Path, wanted: Dataset) -> Iterator[tuple[str, bytes]]:
    """What counts in a file: its members when it is an archive, else itself."""

    def named(name: str) -> str:
        return name if wanted.keep_folders else name.rsplit("/", 1)[-1]

    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if entry.filename.endswith(wanted.suffix)]
                _check_size(path, wanted, sum(entry.file_size for entry in entries))
                for entry in entries:
                    yield named(entry.filename), archive.read(entry)
        elif path.name.endswith((".tar.xz", ".tar.gz", ".tar")):
            with tarfile.open(path) as tar:
                total = 0
                for member in tar:
                    content = tar.extractfile(member) if member.isfile() else None
                    if content is not None and member.name.endswith(wanted.suffix):
                        total += member.size
                        _check_size(path, wanted, total)
                        yield named(member.name), content.read()
        elif path.name in {name for name, _ in wanted.files}:
            yield path.name, read_bytes(path, DATA_BYTES_MAX)
    except _DAMAGE as error:
        reason = str(error).partition(":\n")[0] or "it ends too early"
        raise UsageError(
            f"data {wanted.name}: {path} is damaged or cut short ({reason}): "
            f"remove it and run `tinyfed data fetch {wanted.name}`"
        ) from error


def _check_size(path: Path, wanted: Dataset, total: int) -> None:
    """Raises `UsageError` where an archive unpacks to more than any published data set."""
    if total > DATA_BYTES_MAX:
        raise UsageError(
            f"data {wanted.name}: {path} unpacks to {total:,} bytes, at most {size_text(DATA_BYTES_MAX)} are read: it "
            f"is not what was published: remove it and run `tinyfed data fetch {wanted.name}`"
        )


def fetch(name: str, download: Callable[[str], bytes]) -> Path:
    """Download what is missing of a data set, into the folder where the rest lies or the user's cache, and check it.
    Returns the folder.

    `download(address)` gives the bytes. Nothing is kept of a download that is not what was published, and no file that
    is here is replaced. Raises UsageError naming the file.
    """
    wanted = dataset(name)
    place = folder(name) or cache_folder(name)
    here = _collect(wanted, place)
    _check_contents(wanted, here)
    missing = _missing(wanted, here, place)
    if not missing:
        _check(wanted, here, place)
        return place
    made = [path for path in (place, *place.parents) if not path.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryFolder(place, hidden=True) as temporary:
            waiting = temporary / "came"
            waiting.mkdir()
            for file_name, address in wanted.files:
                if file_name in missing:
                    (waiting / file_name).write_bytes(download(address))
            _check_download(wanted, here, waiting, place)
            flush_tree(waiting)
            for path in sorted(waiting.iterdir()):
                path.replace(place / path.name)
    except OSError as error:
        raise UsageError(f"data {name}: {place} cannot be written: {error.strerror}") from None
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is used
                path.rmdir()
    return place


def _check_download(wanted: Dataset, here: _Found, waiting: Path, place: Path) -> None:
    came = ", ".join(sorted(path.name for path in waiting.iterdir()))
    try:
        _check(wanted, here | _collect(wanted, waiting), place)
    except UsageError as error:
        if wanted.contents or not here:
            text = "is not what was published: try again"
        else:
            with_these = _archives(here)
            text = f"is not what was published together with {with_these} of {place}: remove {with_these} and try again"
        raise UsageError(f"data {wanted.name}: {came} was downloaded, but {text}") from error
