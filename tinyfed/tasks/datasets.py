"""Published data sets: where they come from, where they lie, whether they are what was published.

The files are looked for in the folder `$TINYFED_DATA/NAME`, then in the user's cache, where `tinyfed data fetch NAME`
puts them. What counts is the content: an archive that was packed anew with the same members is the same data set.
"""

import hashlib
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tinyfed import paths
from tinyfed.errors import UsageError

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
        ),
    )
}


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
    members: dict[str, bytes] = {}
    for path in sorted(place.iterdir()):
        if path.is_file():
            members.update(_members(path, wanted))
    check(wanted, members, str(place))
    return members


def check(wanted: Dataset, members: dict[str, bytes], where: str) -> None:
    """Raises UsageError unless these are the published members."""
    if len(members) != wanted.member_count:
        raise UsageError(
            f"data {wanted.name}: {where} holds {len(members)} {wanted.suffix} files of {wanted.member_count}: "
            f"remove it and run `tinyfed data fetch {wanted.name}`"
        )
    if digest(members) != wanted.sha256:
        raise UsageError(
            f"data {wanted.name}: {where} holds another version (SHA-256): "
            f"remove it and run `tinyfed data fetch {wanted.name}`"
        )


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
                for name in archive.namelist():
                    if name.endswith(wanted.suffix):
                        yield named(name), archive.read(name)
        elif path.name.endswith((".tar.xz", ".tar.gz", ".tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    content = tar.extractfile(member) if member.isfile() else None
                    if content is not None and member.name.endswith(wanted.suffix):
                        yield named(member.name), content.read()
        elif path.name in {name for name, _ in wanted.files}:
            yield path.name, path.read_bytes()
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        raise UsageError(
            f"data {wanted.name}: {path} is damaged or cut short ({error}): "
            f"remove it and run `tinyfed data fetch {wanted.name}`"
        ) from error


def fetch(name: str, download: Callable[[str], bytes]) -> Path:
    """Download a data set into the user's cache, unless it is here, and check it. Returns its folder.

    `download(address)` gives the bytes. Nothing is kept of a download that is not what was published.
    """
    wanted = dataset(name)
    here = folder(name)
    if here is not None:
        _read(wanted, here)
        return here
    place = cache_folder(name)
    waiting = place.with_name(f".{name}-{os.getpid()}")
    waiting.mkdir(parents=True, exist_ok=True)
    try:
        for file_name, address in wanted.files:
            (waiting / file_name).write_bytes(download(address))
        members: dict[str, bytes] = {}
        for path in sorted(waiting.iterdir()):
            members.update(_members(path, wanted))
        check(wanted, members, "what was downloaded")
        if place.is_dir():
            place.rmdir()
        waiting.rename(place)
    finally:
        if waiting.is_dir():
            for path in waiting.iterdir():
                path.unlink()
            waiting.rmdir()
    return place


def text(members: dict[str, bytes], name: str) -> io.StringIO:
    """A member as text, to read lines from."""
    return io.StringIO(members[name].decode("utf-8"))
