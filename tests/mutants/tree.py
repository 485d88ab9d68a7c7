"""Copies of the repository in which mutants live and die: nothing is changed where people work."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The environment's editable install finds its modules in the repository whatever the path says.
_OWN_MODULES = """import sys

sys.meta_path = [finder for finder in sys.meta_path if not type(finder).__name__.startswith("ScikitBuild")]
"""


class Tree:
    """A copy of the files that Git knows, as they stand, with the installed engine until it builds its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written_s = 0  # the newest time of a change
        shutil.rmtree(folder, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            source = ROOT / name
            if source.is_file():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        for name in ("_core", "_int8", "_device"):
            installed = importlib.util.find_spec(f"tinyfed.engine.{name}")
            assert installed is not None and installed.origin is not None
            library = Path(installed.origin)
            shutil.copy2(library, folder / "tinyfed" / "engine" / library.name)
        site = folder / ".site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(_OWN_MODULES)
        path = [str(site), str(folder), str(folder / "host"), str(folder / "tests")]
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "PYTHONHASHSEED": "0"}
        data = ROOT.parent / "shared" / "data"
        if data.is_dir():
            self._environment.setdefault("TINYFED_DATA", str(data))

    def build(self) -> bool:
        """Compile the extensions from this copy's sources; False when they do not compile."""
        built = self.folder.with_name(f"{self.folder.name}-engine")  # outlives the copy: little is compiled anew
        commands = [["cmake", "--build", str(built)]]
        if not (built / "CMakeCache.txt").exists():
            begin = ["cmake", "-S", str(self.folder), "-B", str(built), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
            sabi = "-DSKBUILD_SOABI=abi3"
            commands.insert(0, [*begin, sabi, f"-DPython_EXECUTABLE={sys.executable}"])
        for command in commands:
            if subprocess.run(command, env=self._environment, capture_output=True).returncode != 0:
                return False
        for library in built.glob("_*.so"):
            shutil.copy2(library, self.folder / "tinyfed" / "engine" / library.name)
        return True

    def write(self, name: str, text: str) -> None:
        """Change a file. It is newer than anything compiled from it, and no two changes are of one time, which is all
        that Ninja and Python look at."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        self._written_s = max(int(time.time()) + 1, self._written_s + 2)
        os.utime(path, (self._written_s, self._written_s))

    def test(self, tests: list[str], timeout_s: float | None = None) -> subprocess.CompletedProcess[str] | None:
        """Run test files until the first failure; None when they take longer than `timeout_s`."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-m",
            "not slow",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
        ]
        process = subprocess.Popen(
            [*command, "--hypothesis-seed=0", *tests],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return None
        return subprocess.CompletedProcess(process.args, process.returncode, output)
