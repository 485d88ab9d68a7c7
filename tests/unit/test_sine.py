"""The sine task's description; its samples are checked in test_visit_device.py."""

import pytest

from tinyfed import tasks
from tinyfed.errors import UsageError


def test_the_task_describes_itself() -> None:
    task = tasks.get("sine", clients=3, held_out=2)
    assert [client.name for client in task.train] == ["sine-0", "sine-1", "sine-2"]
    assert len(task.held_out) == 2 and not {c.name for c in task.train} & {c.name for c in task.held_out}
    assert all(client.shard is None for client in (*task.train, *task.held_out))
    assert (task.feature_count, task.output_count, task.loss) == (1, 1, "mse")
    assert (task.order.ways, task.order.source, task.order.passes) == (1, "sine", 1)
    task.order.encode()
    task.adapt.encode()
    with pytest.raises(KeyError):
        task.client("sine-9")


@pytest.mark.parametrize("options", [{"clients": 0}, {"held_out": 100_001}, {"clients": 1.5}])
def test_wrong_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"task sine: {next(iter(options))} = "):
        tasks.get("sine", **options)
