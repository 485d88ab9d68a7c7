"""Federated meta-learning on microcontrollers. Import the parts you need: `tinyfed.model`, `tinyfed.engine`, …"""

__version__ = "0.1.0"
