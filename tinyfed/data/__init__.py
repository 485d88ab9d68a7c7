"""What samples are stored as, and where public ones come from.

- `datasets`: published data sets, checked to be what was published
- `recording`: a sensor's readings (docs/recording.md)
- `samples`: .npz and .npy files, checked against a model's input
- `shard`: the samples of one client (docs/shard.md)
- `tables`: CSV
"""

__all__ = ["datasets", "recording", "samples", "shard", "tables"]
