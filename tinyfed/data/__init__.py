"""What samples are stored as, and where public ones come from.

- `arrays`: .npz and .npy files
- `datasets`: published data sets, checked to be what was published
- `recording`: a sensor's readings (docs/recording.md)
- `samples`: arrays, checked against a model's input
- `shard`: the samples of one client (docs/shard.md)
- `tables`: CSV
"""

__all__ = ["arrays", "datasets", "recording", "samples", "shard", "tables"]
