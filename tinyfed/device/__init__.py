"""What a device is to whoever asks it to work, and the simulated one."""

from tinyfed.device.device import Device, DeviceInfo, Traffic, VisitOutcome

__all__ = ["Device", "DeviceInfo", "Traffic", "VisitOutcome"]
