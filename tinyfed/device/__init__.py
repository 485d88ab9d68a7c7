"""What a device is to whoever asks it to work, and the simulated one."""

from tinyfed.device.protocol import Device, DeviceInfo, Traffic, VisitOutcome
from tinyfed.device.roles import InferenceDevice, Recorder

__all__ = ["Device", "DeviceInfo", "InferenceDevice", "Recorder", "Traffic", "VisitOutcome", "draw", "simulated"]
