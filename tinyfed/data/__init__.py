"""What samples are stored as, and where public ones come from.

- `arrays`: .npz and .npy files
- `datasets`: published data sets, checked to be what was published
- `delimited`: how text files say their cells
- `importing`: samples of raw files, with their `windows` and `times`
- `recording`: a sensor's readings (docs/recording.md)
- `samples`: arrays, checked against a model's input
- `shard`: the samples of one client (docs/shard.md)
- `survey`: what a folder of files holds
- `tables`: CSV, TSV, Parquet, NPZ and WAV
"""

__all__ = [
    "arrays",
    "datasets",
    "delimited",
    "importing",
    "recording",
    "samples",
    "shard",
    "survey",
    "tables",
    "times",
    "windows",
]
