"""Raw files of people who never were: an accelerometer on the wrist, as a phone's app would write it.

`python tests/unit/raw_people.py FOLDER` writes 40 files.
"""

import math
import sys
from pathlib import Path

import numpy as np

RATE_HZ = 50
SECONDS = 40  # of each activity
ACTIVITIES = {"sit": (0.0, 0.0), "walk": (1.8, 2.0), "run": (2.8, 6.0)}  # steps a second, m/s2


def write_people(folder: Path, count: int = 40) -> None:
    """A CSV file for each: time, ax, ay, az, activity, note. Each wears the sensor otherwise and moves otherwise; some
    files have a gap of 3 s, a cell that is no number, a row without a cell's value, a row without a label."""
    folder.mkdir(parents=True)
    for person in range(count):
        (folder / f"person{person:02d}.csv").write_text(_text(np.random.default_rng(person), person))


def _text(random: np.random.Generator, person: int) -> str:
    offset, speed, strength = random.normal(0, 2.0, 3), random.normal(1, 0.08), random.lognormal(0, 0.25)
    lines, time = ["time,ax,ay,az,activity,note"], 0.0
    for activity in random.permutation(list(ACTIVITIES)).tolist():
        steps, size = ACTIVITIES[activity]
        for k in range(RATE_HZ * SECONDS):
            time += 1 / RATE_HZ + (3.0 if person % 4 == 0 and k == 700 else 0.0)
            phase = 2 * math.pi * steps * speed * time
            wave = size * strength * np.array([math.sin(phase), 0.6 * math.sin(2 * phase), 0.3 * math.cos(phase)])
            cells = [f"{value:.3f}" for value in (offset + wave + random.normal(0, 0.4, 3) + [0, 0, 9.81]).tolist()]
            if person % 5 == 1 and k == 300:
                cells[0] = "err"
            if person % 7 == 2 and k == 500:
                cells[1] = ""
            label = "" if person == 3 and k < 25 else activity
            lines.append(f"{time:.3f},{','.join(cells)},{label},{'left hand' if k == 0 else ''}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_people(Path(sys.argv[1]))
