"""Models as people write them for boards, a function each; `keras` is Keras 3 or tf-keras.

They come from habits seen in tutorials, examples and products, not from what tinyfed has: names of tests say the habit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Build = Callable[[Any], Any]
HABITS: dict[str, Build] = {}
# What the engine does not have, and what is said of it.
REFUSED = {
    "lambda_layer": "its Python cannot be read",
    "self_attention": "MultiHeadAttention layers; put LSTM, GRU or Conv1D",
    "word_embedding": "look the embedding up before the model",
}


def habit(build: Build) -> Build:
    HABITS[build.__name__] = build
    return build


def chain(keras: Any, shape: tuple[int, ...], *parts: Any) -> Any:
    """A functional model of layers in a row."""
    source = result = keras.Input(shape)
    for part in parts:
        result = part(result)
    return keras.Model(source, result)


@habit
def mlp(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dropout(0.2)]
    return keras.Sequential([keras.Input((6, 4)), *parts, layers.Dense(3, activation="softmax")])


@habit
def mlp_batch_normalized(keras: Any) -> Any:
    layers = keras.layers
    parts = [part for n in (16, 12) for part in (layers.Dense(n), layers.BatchNormalization(), layers.ReLU())]
    return keras.Sequential([keras.Input((9,)), *parts, layers.Dense(1, activation="sigmoid")])


@habit
def anomaly_autoencoder(keras: Any) -> Any:
    layers = keras.layers
    sizes = (16, 16, 4, 16, 16)
    parts = [p for n in sizes for p in (layers.Dense(n), layers.BatchNormalization(), layers.Activation("relu"))]
    return chain(keras, (40,), *parts, layers.Dense(40))


@habit
def sine(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((1,)), layers.Dense(16, activation="relu"), layers.Dense(16, "relu"), layers.Dense(1)]
    )


@habit
def normalized_regression(keras: Any) -> Any:
    normalization = keras.layers.Normalization(axis=-1)
    normalization.adapt(np.random.default_rng(1).normal(3, 2, (64, 7)).astype(np.float32))
    return keras.Sequential(
        [keras.Input((7,)), normalization, keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)]
    )


@habit
def rescaled_picture(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Rescaling(1 / 127.5, offset=-1), layers.Conv2D(4, 3, padding="same", activation="relu")]
    return keras.Sequential([keras.Input((8, 8, 3)), *parts, layers.Flatten(), layers.Dense(2)])


@habit
def normalized_sequence(keras: Any) -> Any:
    layers = keras.layers
    normalization = layers.Normalization(mean=[0.1, 9.8, -0.3], variance=[1.0, 4.0, 0.5])
    return chain(keras, (20, 3), normalization, layers.Conv1D(4, 5), layers.GlobalMaxPooling1D(), layers.Dense(4))


def _mlp_with(keras: Any, *activations: Any) -> Any:
    layers = keras.layers
    return chain(keras, (10,), layers.Dense(12), *activations, layers.Dense(4))


@habit
def selu_with_alpha_dropout(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Dense(12, activation="selu", kernel_initializer="lecun_normal"), layers.AlphaDropout(0.1)]
    return chain(keras, (10,), *parts, layers.Dense(3, activation="softmax"))


@habit
def elu(keras: Any) -> Any:
    return _mlp_with(keras, keras.layers.ELU(alpha=0.7), keras.layers.Dense(8, activation="elu"))


@habit
def gelu(keras: Any) -> Any:
    return _mlp_with(keras, keras.layers.Activation("gelu"))


@habit
def swish(keras: Any) -> Any:
    return _mlp_with(keras, keras.layers.Dense(8, activation="swish"), keras.layers.Activation("swish"))


@habit
def hard_sigmoid_and_softplus(keras: Any) -> Any:
    layers = keras.layers
    return _mlp_with(keras, layers.Activation("hard_sigmoid"), layers.Dense(9, "softplus"), layers.Dense(5, "softsign"))


@habit
def exponential(keras: Any) -> Any:
    return _mlp_with(keras, keras.layers.Dense(6, activation="exponential"))


@habit
def mish(keras: Any) -> Any:
    return _mlp_with(keras, keras.layers.Activation("mish"))


@habit
def prelu(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv2D(4, 3), layers.PReLU(shared_axes=[1, 2]), layers.Conv2D(4, 3), layers.PReLU()]
    return chain(keras, (9, 9, 2), *parts, layers.Flatten(), layers.Dense(3), layers.PReLU())


@habit
def leaky_relu(keras: Any) -> Any:
    return _mlp_with(keras, keras.layers.LeakyReLU(), keras.layers.Dense(6, activation="leaky_relu"))


@habit
def clipped_relu(keras: Any) -> Any:
    layers = keras.layers
    return _mlp_with(
        keras,
        layers.ReLU(max_value=1.0),
        layers.Dense(5),
        layers.ReLU(6.0),
        layers.ReLU(max_value=2.0, negative_slope=0.1),
    )


@habit
def attention_gate(keras: Any) -> Any:
    """Softmax over features, in the middle."""
    layers = keras.layers
    source = keras.Input((12,))
    gate = layers.Dense(12, activation="softmax")(source)
    return keras.Model(source, layers.Dense(2)(layers.Multiply()([source, gate])))


@habit
def temporal_attention(keras: Any) -> Any:
    """A weight for each step of time, and the sum by Permute, Multiply and a pool."""
    layers = keras.layers
    source = keras.Input((10, 6))
    weights = layers.Softmax(axis=1)(layers.Dense(1, activation="tanh")(source))
    return keras.Model(source, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Multiply()([source, weights]))))


@habit
def time_distributed(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv1D(6, 3, activation="relu"), layers.TimeDistributed(layers.Dense(5, activation="relu"))]
    return chain(keras, (12, 3), *parts, layers.TimeDistributed(layers.Dense(2, activation="softmax")))


@habit
def dense_on_a_sequence(keras: Any) -> Any:
    layers = keras.layers
    return chain(keras, (12, 3), layers.Dense(8, "relu"), layers.Dense(4), layers.Flatten(), layers.Dense(2))


@habit
def lenet(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv2D(4, 5, activation="tanh", padding="same"), layers.AveragePooling2D(2)]
    parts += [layers.Conv2D(6, 5, activation="tanh"), layers.AveragePooling2D(2), layers.Flatten()]
    return keras.Sequential([keras.Input((16, 16, 1)), *parts, layers.Dense(10, "tanh"), layers.Dense(4, "softmax")])


@habit
def augmented(keras: Any) -> Any:
    layers = keras.layers
    before = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    before += [layers.RandomTranslation(0.1, 0.1), layers.RandomContrast(0.2), layers.Rescaling(1 / 255)]
    parts = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.SpatialDropout2D(0.1)]
    return keras.Sequential(
        [keras.Input((12, 12, 3)), *before, *parts, layers.GaussianNoise(0.1), layers.Flatten(), layers.Dense(2)]
    )


@habit
def depth_multiplier(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"), layers.Conv2D(4, 1)]
    return chain(keras, (8, 8, 3), *parts, layers.GlobalAveragePooling2D(), layers.Dense(2))


@habit
def separable(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.SeparableConv2D(8, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
    parts += [layers.SeparableConv2D(6, 3, depth_multiplier=2), layers.BatchNormalization(), layers.ReLU()]
    return chain(keras, (12, 12, 2), *parts, layers.GlobalAveragePooling2D(), layers.Dense(3))


@habit
def separable_1d(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.SeparableConv1D(8, 5, strides=2), layers.DepthwiseConv1D(3), layers.GlobalAveragePooling1D()]
    return chain(keras, (24, 3), *parts, layers.Dense(3))


@habit
def keyword_spotting_ds_cnn(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Reshape((25, 10, 1)), layers.Conv2D(8, (10, 4), strides=(2, 2), padding="same")]
    parts += [layers.BatchNormalization(), layers.Activation("relu"), layers.Dropout(0.2)]
    for _ in range(2):
        parts += [layers.DepthwiseConv2D(3, padding="same"), layers.BatchNormalization(), layers.Activation("relu")]
        parts += [layers.Conv2D(8, 1, padding="same"), layers.BatchNormalization(), layers.Activation("relu")]
    parts += [layers.AveragePooling2D((13, 5)), layers.Flatten(), layers.Dense(12, activation="softmax")]
    return keras.Sequential([keras.Input((250,)), *parts])


@habit
def mobilenet_block_with_zero_padding(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.ZeroPadding2D(((0, 1), (0, 1))), layers.Conv2D(4, 3, strides=2, use_bias=False)]
    parts += [layers.BatchNormalization(), layers.ReLU(6.0), layers.ZeroPadding2D(((0, 1), (0, 1)))]
    parts += [layers.DepthwiseConv2D(3, strides=2, use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0)]
    return chain(keras, (16, 16, 3), *parts, layers.GlobalAveragePooling2D(), layers.Dense(2))


@habit
def inverted_residual(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((8, 8, 4))
    x = source
    for part in (layers.Conv2D(12, 1, use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0)):
        x = part(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
    x = layers.Add()([source, layers.BatchNormalization()(layers.Conv2D(4, 1)(x))])
    return keras.Model(source, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@habit
def resnet_with_zero_padding(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, strides=2)(layers.ZeroPadding2D(1)(source))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(layers.ReLU()(layers.BatchNormalization()(x))))
    y = layers.Conv2D(6, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(source, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.add([x, y]))))


@habit
def resnet_mlperf_tiny(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((16, 16, 3))
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(source)))
    for filters, strides in ((8, 1), (12, 2), (16, 2)):
        y = layers.Conv2D(filters, 3, strides=strides, padding="same", kernel_regularizer="l2")(x)
        y = layers.Conv2D(filters, 3, padding="same")(layers.Activation("relu")(layers.BatchNormalization()(y)))
        x = x if strides == 1 else layers.Conv2D(filters, 1, strides=strides, padding="same")(x)
        x = layers.Activation("relu")(layers.add([x, layers.BatchNormalization()(y)]))
    x = layers.Flatten()(layers.AveragePooling2D(pool_size=4)(x))
    return keras.Model(source, layers.Dense(10, activation="softmax")(x))


@habit
def fomo_head(keras: Any) -> Any:
    """A class for each cell of a grid."""
    layers = keras.layers
    parts = [layers.ZeroPadding2D(((0, 1), (0, 1))), layers.Conv2D(6, 3, strides=2), layers.ReLU(6.0)]
    parts += [layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(8, 1, activation="relu", name="head")]
    return chain(keras, (16, 16, 1), *parts, layers.Conv2D(3, 1, name="logits"), layers.Softmax())


@habit
def squeeze_and_excite(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((8, 8, 6))
    gate = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(source))
    x = layers.Multiply()([source, layers.Dense(6, activation="sigmoid")(gate)])
    return keras.Model(source, layers.Dense(2)(layers.Flatten()(x)))


@habit
def hard_swish_block(keras: Any) -> Any:
    """MobileNet v3 as it is written with layers: x * relu6(x + 3) / 6."""
    layers = keras.layers
    source = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(source))
    gate = layers.Rescaling(1 / 6)(layers.ReLU(6.0)(layers.Rescaling(1.0, offset=3.0)(x)))
    x = layers.Multiply()([x, gate])
    return keras.Model(source, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@habit
def inception(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((8, 8, 3))
    branches = [layers.Conv2D(4, size, padding="same", activation="relu")(source) for size in (1, 3, 5)]
    branches.append(layers.Conv2D(2, 1)(layers.MaxPooling2D(3, strides=1, padding="same")(source)))
    x = layers.Concatenate()(branches)
    return keras.Model(source, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@habit
def densenet_block(keras: Any) -> Any:
    layers = keras.layers
    source = x = keras.Input((8, 8, 4))
    for _ in range(2):
        y = layers.Conv2D(4, 3, padding="same")(layers.Activation("relu")(layers.BatchNormalization()(x)))
        x = layers.Concatenate(axis=-1)([x, y])
    return keras.Model(source, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@habit
def unet(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((8, 8, 1))
    top = layers.Conv2D(4, 3, padding="same", activation="relu")(source)
    low = layers.Conv2D(6, 3, padding="same", activation="relu")(layers.MaxPooling2D()(top))
    x = layers.Conv2DTranspose(4, 2, strides=2, padding="same")(low)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.concatenate([x, top]))
    return keras.Model(source, layers.Conv2D(1, 1, activation="sigmoid")(x))


@habit
def upsampling_autoencoder(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv2D(4, 3, padding="same", activation="relu"), layers.MaxPooling2D(), layers.UpSampling2D()]
    parts += [layers.Conv2D(2, 3, padding="same"), layers.UpSampling2D((2, 1), interpolation="bilinear")]
    return chain(keras, (8, 8, 1), *parts)


@habit
def transposed_convolutions(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv2DTranspose(3, 3, strides=2), layers.Conv2DTranspose(2, 4, strides=2, padding="same")]
    return chain(keras, (16,), layers.Dense(32), layers.Reshape((4, 4, 2)), *parts)


@habit
def transposed_convolution_1d(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv1D(6, 4, strides=2, padding="same", activation="relu")]
    parts += [layers.Conv1DTranspose(4, 4, strides=2, padding="same", activation="relu")]
    return chain(keras, (16, 2), *parts, layers.Conv1DTranspose(2, 3, padding="same"))


@habit
def dilated_picture(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv2D(4, 3, dilation_rate=2, activation="relu"), layers.Conv2D(4, 3, (1, 1), "same")]
    parts += [layers.Conv2D(3, 3, padding="same", dilation_rate=(2, 1))]
    return chain(keras, (12, 12, 2), *parts, layers.GlobalAveragePooling2D(), layers.Dense(2))


@habit
def cropped(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Cropping2D(((1, 2), (2, 1))), layers.Conv2D(3, 3), layers.ZeroPadding2D((1, 2))]
    return chain(keras, (10, 10, 2), *parts, layers.GlobalMaxPooling2D(), layers.Dense(2))


@habit
def two_pools(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((9, 9, 2))
    x = layers.Conv2D(5, 3, activation="relu")(source)
    x = layers.Concatenate()([layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)])
    return keras.Model(source, layers.Dense(2, activation="softmax")(x))


@habit
def grouped_convolution(keras: Any) -> Any:
    layers = keras.layers
    return chain(keras, (8, 8, 4), layers.Conv2D(6, 3, groups=2), layers.GlobalAveragePooling2D(), layers.Dense(2))


@habit
def human_activity_conv1d(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv1D(8, 3, activation="relu"), layers.Conv1D(8, 3, activation="relu"), layers.Dropout(0.5)]
    parts += [layers.MaxPooling1D(2), layers.Flatten(), layers.Dense(16, "relu"), layers.Dense(6, "softmax")]
    return keras.Sequential([keras.Input((32, 6)), *parts])


@habit
def temporal_convolutions(keras: Any) -> Any:
    """TCN: causal and dilated, with residual connections."""
    layers = keras.layers
    source = x = keras.Input((24, 3))
    for rate in (1, 2, 4):
        y = layers.Conv1D(6, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        y = layers.SpatialDropout1D(0.1)(y)
        x = layers.add([y, layers.Conv1D(6, 1)(x)])
    return keras.Model(source, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@habit
def wavenet_gate(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((16, 4))
    gates = [layers.Conv1D(4, 2, padding="causal", dilation_rate=2, activation=a)(source) for a in ("tanh", "sigmoid")]
    x = layers.Add()([source, layers.Conv1D(4, 1)(layers.multiply(gates))])
    return keras.Model(source, layers.Dense(2)(layers.Flatten()(x)))


@habit
def padded_sequence(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.ZeroPadding1D(2), layers.Conv1D(4, 3), layers.Cropping1D((1, 2)), layers.UpSampling1D(2)]
    return chain(keras, (14, 2), *parts, layers.MaxPooling1D(2), layers.Flatten(), layers.Dense(2))


@habit
def lstm(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([keras.Input((12, 3)), layers.LSTM(8), layers.Dropout(0.5), layers.Dense(4, "softmax")])


@habit
def stacked_lstm(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.LSTM(6, return_sequences=True), layers.LSTM(5), layers.Dense(4, activation="relu")]
    return keras.Sequential([keras.Input((10, 3)), *parts, layers.Dense(1)])


@habit
def gru(keras: Any) -> Any:
    layers = keras.layers
    return chain(keras, (10, 3), layers.GRU(6, return_sequences=True), layers.GRU(4), layers.Dense(2))


@habit
def gru_of_keras_1(keras: Any) -> Any:
    layers = keras.layers
    return chain(keras, (10, 3), layers.GRU(6, reset_after=False, recurrent_activation="hard_sigmoid"), layers.Dense(2))


@habit
def bidirectional_lstm(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.Bidirectional(layers.GRU(3))]
    return chain(keras, (9, 3), *parts, layers.Dense(2))


@habit
def simple_rnn(keras: Any) -> Any:
    layers = keras.layers
    return chain(keras, (10, 2), layers.SimpleRNN(5, return_sequences=True), layers.SimpleRNN(4), layers.Dense(1))


@habit
def conv_lstm(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv1D(6, 3, activation="relu"), layers.MaxPooling1D(2), layers.LSTM(5), layers.Dense(3)]
    return chain(keras, (20, 3), *parts, layers.Softmax())


@habit
def lstm_autoencoder(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.LSTM(6), layers.RepeatVector(8), layers.LSTM(6, return_sequences=True)]
    return keras.Sequential([keras.Input((8, 2)), *parts, layers.TimeDistributed(layers.Dense(2))])


@habit
def mixer_with_layer_normalization(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((8, 6))
    x = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(source))
    x = layers.Add()([source, layers.Permute((2, 1))(layers.Dense(8, activation="gelu")(x))])
    x = layers.Add()([x, layers.Dense(6, activation="gelu")(layers.LayerNormalization()(x))])
    return keras.Model(source, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@habit
def group_normalization(keras: Any) -> Any:
    layers = keras.layers
    parts = [layers.Conv2D(6, 3), layers.GroupNormalization(groups=3), layers.ReLU()]
    return chain(keras, (8, 8, 2), *parts, layers.Flatten(), layers.Dense(2))


@habit
def embedding_with_unit_norm(keras: Any) -> Any:
    return chain(keras, (12,), keras.layers.Dense(6), keras.layers.UnitNormalization())


@habit
def transfer_learning(keras: Any) -> Any:
    """base(x, training=False), frozen, functional in functional."""
    layers = keras.layers
    base = chain(keras, (12, 12, 3), layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU(6.0))
    base.trainable = False
    source = keras.Input((12, 12, 3))
    x = layers.GlobalAveragePooling2D()(base(layers.Rescaling(1 / 255)(source), training=False))
    return keras.Model(source, layers.Dense(2, activation="softmax")(layers.Dropout(0.2)(x)))


@habit
def model_in_a_sequential(keras: Any) -> Any:
    layers = keras.layers
    inner = keras.Sequential([keras.Input((9, 2)), layers.Conv1D(4, 3), layers.BatchNormalization()], name="features")
    return keras.Sequential([keras.Input((9, 2)), inner, layers.ReLU(), layers.Flatten(), layers.Dense(2)])


@habit
def siamese(keras: Any) -> Any:
    layers = keras.layers
    base = keras.Sequential([keras.Input((10,)), layers.Dense(8, activation="relu"), layers.Dense(4)], name="twin")
    first, second = keras.Input((10,), name="a"), keras.Input((10,), name="b")
    x = layers.Subtract()([base(first), base(second)])
    return keras.Model([first, second], layers.Dense(1, activation="sigmoid")(layers.Multiply()([x, x])))


@habit
def two_inputs(keras: Any) -> Any:
    """A picture and numbers beside it."""
    layers = keras.layers
    picture, numbers = keras.Input((8, 8, 1), name="picture"), keras.Input((3,), name="numbers")
    x = layers.Flatten()(layers.MaxPooling2D()(layers.Conv2D(3, 3, activation="relu")(picture)))
    x = layers.concatenate([x, layers.Dense(4, activation="relu")(numbers)])
    return keras.Model([picture, numbers], layers.Dense(2)(x))


@habit
def two_outputs(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((8, 3))
    x = layers.Flatten()(layers.Conv1D(4, 3, activation="relu")(source))
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    return keras.Model(source, [kind, layers.Dense(2, name="place")(x)])


@habit
def ensemble(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((7,))
    votes = [layers.Dense(3, activation="softmax")(layers.Dense(n, activation="relu")(source)) for n in (4, 6)]
    return keras.Model(source, layers.Average()(votes))


@habit
def largest_and_smallest(keras: Any) -> Any:
    """Maxout."""
    layers = keras.layers
    source = keras.Input((7,))
    x = layers.Maximum()([layers.Dense(4)(source), layers.Dense(4)(source), layers.Dense(4)(source)])
    return keras.Model(source, layers.Minimum()([x, layers.Dense(4)(source)]))


@habit
def operators(keras: Any) -> Any:
    """+, -, * between tensors and numbers."""
    layers = keras.layers
    source = keras.Input((6, 4))
    x = layers.Conv1D(4, 3, padding="same")(source)
    x = (x + source) * 0.5 - 1.0
    return keras.Model(source, layers.Dense(2)(layers.Flatten()(x * source)))


@habit
def last_step(keras: Any) -> Any:
    """x[:, -1, :], every second step, the first features."""
    layers = keras.layers
    source = keras.Input((8, 4))
    x = layers.LSTM(5, return_sequences=True)(source)
    parts = [x[:, -1, :], layers.Flatten()(x[:, 1:7:2]), layers.Flatten()(source[:, :, :2])]
    return keras.Model(source, layers.Dense(2)(layers.concatenate(parts)))


@habit
def functions(keras: Any) -> Any:
    """keras.ops, or TensorFlow's in their place."""
    layers = keras.layers
    source = keras.Input((6, 4))
    x = layers.Conv1D(5, 3)(source)
    if hasattr(keras, "ops"):
        mean, square, relu, root = keras.ops.mean, keras.ops.square, keras.ops.relu, keras.ops.sqrt
        together = keras.ops.concatenate
    else:
        import tensorflow as tf

        mean, square, relu, root, together = tf.reduce_mean, tf.square, tf.nn.relu, tf.sqrt, tf.concat
    energy = root(mean(square(x), axis=1) + 1.0)
    return keras.Model(source, layers.Dense(2)(together([energy, mean(relu(x), axis=1)], axis=-1)))


@habit
def mobilenet_v1(keras: Any) -> Any:
    return keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=2)


@habit
def mobilenet_v2(keras: Any) -> Any:
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.1, weights=None, classes=2)


@habit
def lambda_layer(keras: Any) -> Any:
    return _mlp_with(keras, keras.layers.Lambda(lambda x: x * 2))


@habit
def word_embedding(keras: Any) -> Any:
    layers = keras.layers
    return chain(keras, (8,), layers.Embedding(20, 4), layers.GlobalAveragePooling1D(), layers.Dense(2))


@habit
def self_attention(keras: Any) -> Any:
    layers = keras.layers
    source = keras.Input((6, 8))
    x = layers.MultiHeadAttention(num_heads=2, key_dim=4)(source, source)
    return keras.Model(source, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
