"""Options of Keras' layers that change what they compute: done, or refused by name. Configurations alone, no Keras."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_golden import weights_of

from tinyfed.errors import ConvertError
from tinyfed.model.convert import float_model
from tinyfed.model.inspect import keras_facts
from tinyfed.model.keras.convert import convert_keras_model
from tinyfed.model.keras.file import KerasModel, Parts, keras_model, read_keras
from tinyfed.model.keras.hdf5 import Group, write
from tinyfed.model.run import check_batch, run

Config = dict[str, Any]


def layer(kind: str, **config: Any) -> Config:
    return {"class_name": kind, "config": {"name": kind.lower(), **config}}


def read(shape: tuple[int, ...], *layers: Config, weights: Group | None = None) -> KerasModel:
    first = layer("InputLayer", batch_shape=[None, *shape])
    config = layer("Sequential", layers=[first, *layers])
    return keras_model(Parts("m.keras", config, {}, weights or Group({}, {}), legacy=False))


@pytest.mark.parametrize("axis", [-1, 1, [1]])
def test_axes_at_each_step_of_time_count_without_the_time(axis: Any) -> None:
    """TimeDistributed(Softmax(axis=1)) of (time, values) is over the values, and not over the time."""
    model = read((3, 4), layer("TimeDistributed", layer=layer("Softmax", axis=axis)), layer("Rescaling", scale=2.0))
    converted = float_model("m.keras", convert_keras_model(model))
    values = np.random.default_rng(3).normal(size=(2, 3, 4)).astype(np.float32)
    powers = np.exp(values.astype(np.float64))
    expected = 2 * powers / powers.sum(axis=2, keepdims=True)
    (result,) = run(converted, check_batch(converted, [values], "x")).real
    assert np.abs(result.reshape(expected.shape) - expected).max() <= 1e-6


@pytest.mark.parametrize(
    ("shape", "parts", "reason"),
    [
        ((3, 4, 2), [layer("Flatten", data_format="channels_first")], r"channels_first; put Permute\(\(2, 3, 1\)\)"),
        ((8, 8, 1), [layer("Resizing", height=4, width=4, antialias=True)], "antialias on a picture"),
        ((8, 8, 1), [layer("Resizing", height=16, width=4, antialias=True)], "antialias on a picture"),
        ((4, 3), [layer("Max", axis=[1], initial=0.0)], r"initial value; .* keras\.ops\.maximum"),
        ((4, 3), [layer("Min", axis=[1], initial=0.0)], r"initial value; .* keras\.ops\.minimum"),
    ],
)  # fmt: skip
def test_what_would_give_another_network_is_refused(shape: tuple[int, ...], parts: list[Config], reason: str) -> None:
    with pytest.raises(ConvertError, match=reason):
        convert_keras_model(read(shape, *parts))


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((4,), layer("Flatten", data_format="channels_first")),
        ((4, 4, 1), layer("Resizing", height=8, width=4, antialias=True)),
        ((8, 8, 1), layer("Resizing", height=4, width=4, antialias=True, interpolation="nearest")),
        ((4, 3), layer("Max", axis=[1], initial=None)),
    ],
)
def test_where_an_option_changes_nothing_it_converts(shape: tuple[int, ...], part: Config) -> None:
    convert_keras_model(read(shape, part, layer("ReLU")))


def test_layers_of_one_name_in_two_models_inside() -> None:
    """They are two layers: each has a shape and a cost of its own, and neither is used twice."""

    def inner(name: str, units: int) -> Config:
        return layer("Sequential", layers=[layer("Dense", units=units)], build_input_shape=[None, units + 1]) | {
            "name": name
        }

    places = {"sequential": (5, 4), "sequential_1": (4, 3)}
    own = {f"layers/{place}/layers/dense/vars/0": list(shape) for place, shape in places.items()}
    own |= {f"layers/{place}/layers/dense/vars/1": [shape[1]] for place, shape in places.items()}
    model = read((5,), inner("one", 4), inner("two", 3), weights=weights_of(own))
    assert not [note for note in convert_keras_model(model).notes if "more than once" in note]
    costs = [(facts.shape, facts.macs) for facts in keras_facts(model, 0, []).layers if facts.kind == "Dense"]
    assert costs == [((4,), 20), ((3,), 12)]


def test_weights_of_its_own_name_belong_to_a_json(tmp_path: Path) -> None:
    """With other files of weights beside it; where none has its name the message says what to call them."""
    first = layer("InputLayer", batch_shape=[None, 2])
    path = tmp_path / "one.json"
    path.write_text(json.dumps(layer("Sequential", layers=[first, layer("Dense", units=1)])))
    shapes = {"layers/dense/vars/0": [2, 1], "layers/dense/vars/1": [1]}
    for name in ("two.h5", "one.weights.h5"):
        (tmp_path / name).write_bytes(write(weights_of(shapes if name.startswith("one") else {})))
    assert [each.parameter_count for each in read_keras(path).layers()] == [3]
    (tmp_path / "one.weights.h5").rename(tmp_path / "three.h5")
    with pytest.raises(ConvertError, match=r"name its weights NAME\.weights\.h5"):
        read_keras(path)


def test_named_inputs_and_outputs_come_in_the_order_of_their_names() -> None:
    """As Keras' own `inputs` and `outputs` do, in whatever order the model was given them: a - b, and its double."""
    tensors = {name: [name, 0, 0] for name in ("b", "a", "less", "twice")}

    def used(name: str, *sources: str, kind: str, **config: Any) -> Config:
        nodes = [[[*tensors[source], {}] for source in sources]] if sources else []
        return {**layer(kind, **config), "name": name, "inbound_nodes": nodes}

    layers = [
        used("b", kind="InputLayer", batch_shape=[None, 2]),
        used("a", kind="InputLayer", batch_shape=[None, 2]),
        used("less", "a", "b", kind="Subtract"),
        used("twice", "less", kind="Rescaling", scale=2.0),
    ]
    for one in layers:
        one["config"]["name"] = one["name"]
    ends = {
        "input_layers": {"b": tensors["b"], "a": tensors["a"]},
        "output_layers": {"z": tensors["less"], "d": tensors["twice"]},
    }
    config = layer("Functional", layers=layers, **ends)
    model = keras_model(Parts("m.keras", config, {}, Group({}, {}), legacy=False))
    converted = float_model("m.keras", convert_keras_model(model))
    first, second = np.array([[5, 7]], np.float32), np.array([[1, 4]], np.float32)
    results = run(converted, check_batch(converted, [first, second], "x")).real
    assert [result.tolist() for result in results] == [[[8.0, 6.0]], [[4.0, 3.0]]]
