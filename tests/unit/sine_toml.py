"""A small experiment on sines, as its author writes it."""


def sine_toml(rounds: int, seed: int = 5, outputs: int = 8, shots: int = 8, devices: int = 3) -> str:
    """The text of the file."""
    return f"""rounds = {rounds}
seed = {seed}
[model]
inputs = 1
loss = "mse"
layers = [{{ outputs = {outputs}, activation = "tanh" }}, {{ outputs = 1 }}]
[task]
name = "sine"
shots = {shots}
[strategy]
name = "tinyreptile"
[fleet]
devices = {devices}
"""
