"""The device as the coordinator sees it, and what a person watching a run sees."""

from dataclasses import dataclass, field

from tinyfed.device import Device, DeviceInfo, Traffic, VisitOutcome

__all__ = ["Device", "DeviceInfo", "FleetEvent", "Traffic", "VisitOutcome"]


@dataclass
class FleetEvent:
    """Something a person watching a run wants to see."""

    kind: str
    device: str
    text: str = ""
    data: dict[str, object] = field(default_factory=dict)
