"""The same network in Keras, with the same weights: what TensorFlow's own differentiation says of it."""

from typing import Any

import numpy as np

from tinyfed import model as s
from tinyfed.model import ModelSpec


def twin(keras: Any, spec: ModelSpec, weights: Any) -> Any:
    """A functional Keras model; its weights lie in the order of the flat vector."""
    layers = keras.layers
    tensors = [keras.Input(spec.input_shape, batch_size=None)]
    for layer in spec.layers:
        x = tensors[len(tensors) - 1 if layer.input is None else layer.input]
        tensors.append(_activated(keras, layer, _apply(layers, layer, x, tensors)))
    model = keras.Model(tensors[0], tensors[-1])
    arrays, at = [], 0
    for shape, own in zip(spec.parameter_shapes, model.get_weights(), strict=True):
        size = int(np.prod(shape))
        arrays.append(weights[at : at + size].reshape(own.shape))
        at += size
    model.set_weights(arrays)
    return model


def _apply(layers: Any, layer: Any, x: Any, tensors: list[Any]) -> Any:
    match layer:
        case s.Dense():
            flat = x if len(x.shape) == 2 else layers.Flatten()(x)
            return layers.Dense(layer.units, use_bias=layer.use_bias)(flat)
        case s.Conv2D():
            return layers.Conv2D(
                layer.filters, layer.kernel_size, layer.strides, layer.padding, use_bias=layer.use_bias
            )(x)
        case s.Conv1D():
            return layers.Conv1D(
                layer.filters, layer.kernel_size, layer.strides, layer.padding, use_bias=layer.use_bias
            )(x)
        case s.DepthwiseConv2D():
            return layers.DepthwiseConv2D(layer.kernel_size, layer.strides, layer.padding, use_bias=layer.use_bias)(x)
        case s.ScaleShift():  # a depthwise kernel of 1 x 1 is a scale for each channel
            return layers.DepthwiseConv2D(1, use_bias=layer.use_bias)(x)
        case s.MaxPool():
            return layers.MaxPooling2D(layer.pool_size, layer.strides, layer.padding)(x)
        case s.AveragePool():
            return layers.AveragePooling2D(layer.pool_size, layer.strides, layer.padding)(x)
        case s.GlobalAveragePool():
            return layers.GlobalAveragePooling2D()(x)
        case s.Add():
            return layers.Add()([x, tensors[layer.other]])
        case s.Flatten():
            return layers.Flatten()(x)
        case s.Reshape():
            return layers.Reshape(layer.shape)(x)
        case _:
            return x


def _activated(keras: Any, layer: Any, x: Any) -> Any:
    match getattr(layer, "activation", "linear"):
        case "linear":
            return x
        case "leaky_relu":
            return keras.layers.LeakyReLU(negative_slope=layer.negative_slope)(x)
        case "relu6":
            return keras.layers.ReLU(max_value=6)(x)
        case name:
            return keras.layers.Activation(name)(x)


def loss_of(keras: Any, spec: ModelSpec) -> Any:
    """Keras' own loss function for the specification's."""
    losses = keras.losses
    if spec.loss == "mse":
        return losses.MeanSquaredError()
    if spec.loss == "softmax_cross_entropy":
        return losses.SparseCategoricalCrossentropy(from_logits=True)
    return losses.BinaryCrossentropy(from_logits=True)


def flat(arrays: Any) -> Any:
    """One float32 vector of Keras' arrays."""
    return np.concatenate([np.asarray(array).ravel() for array in arrays]).astype(np.float32)
