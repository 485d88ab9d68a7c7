"""Ctrl-C ends every command, whatever a device says meanwhile: it talks for ever, as if it were alive."""

import itertools
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from liar import Chatter
from test_visit_line import IMAGE

from tinyfed.status import Status
from tinyfed.wire.messages import MessageType

EXPERIMENT = """rounds = 12
[model]
inputs = 1
loss = "mse"
layers = [{ outputs = 1 }]
[task]
name = "sine"
shots = 8
[strategy]
name = "tinyreptile"
"""
PROGRAM = "from tinyfed_host.cli.main import main; main()"
STATE = struct.pack("<IbBH", 0, Status.STATE, 0, 0)
SPEECH = {"cancelled": (MessageType.CANCELLED, b""), "wrong state": (MessageType.ERROR, STATE)}
# What the person does, and after which message the device begins to chatter (None: at once).
COMMANDS: dict[str, tuple[list[str], MessageType | None]] = {
    "devices": (["devices", "URL"], None),
    "start of a fleet": (["run", "x.toml", "--port", "URL"], None),
    "run": (["run", "x.toml", "--port", "URL"], MessageType.TRANSFER_BEGIN),
    "visit": (["run", "x.toml", "--port", "URL"], MessageType.ORDER),
    "save": (["devices", "save", "URL"], MessageType.SAVE),
    "greeting": (["devices", "save", "URL"], None),
    "label": (["devices", "label", "URL", "0"], MessageType.LABEL),
    "model run": (
        ["model", "run", "m.tfm", "--input", "x.npy", "-o", "y.npy", "--port", "URL"],
        MessageType.CHUNK_DOWN,
    ),
    "adapt greeting": (["devices", "adapt", "URL", "x"], None),
    "adapt load": (["devices", "adapt", "URL", "x"], MessageType.CHUNK_DOWN),
    "adapt visit": (["devices", "adapt", "URL", "x"], MessageType.ORDER),
}


@pytest.mark.parametrize(("name", "speech"), list(zip(COMMANDS, itertools.cycle(SPEECH), strict=False)))
def test_ctrl_c_ends_it(name: str, speech: str, tmp_path: Path) -> None:
    import numpy as np

    words, after = COMMANDS[name]
    (tmp_path / "x.toml").write_text(EXPERIMENT)
    (tmp_path / "m.tfm").write_bytes(IMAGE)
    np.save(tmp_path / "x.npy", np.zeros((4, 2), np.float32))
    if "adapt" in words:
        simulated = ["run", "x.toml", "--fleet", "simulated", "--rounds", "1", "--no-evaluate"]
        subprocess.run([sys.executable, "-c", PROGRAM, *simulated], cwd=tmp_path, check=True, capture_output=True)
    with Chatter(tmp_path / "s", *SPEECH[speech], after) as chatter:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *(chatter.url if word == "URL" else word for word in words)],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            while chatter.said < 200 and process.poll() is None:
                time.sleep(0.01)
            ended_by_itself = process.poll() is not None
            pressed = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            seconds = time.monotonic() - pressed
        finally:
            process.kill()
    print(f"{name}, {speech}: {seconds:.2f} s")
    assert ended_by_itself or process.returncode == 130, out + err
    assert "fault inside" not in err and "Traceback" not in err
    if "adapt" in words and not ended_by_itself:
        holds = "what it held before" if after is None else "no whole model, or has half learned"
        assert f"the device on {chatter.url} holds {holds}" in err
