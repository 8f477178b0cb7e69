"""The shapes of the nets, each a few thousand weights.

Belongs here: layers from a window to the departures from the unconditional quantiles. How they are trained does not.

No layer draws random numbers while it is trained, so that a run resumed after a kill repeats the one that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.neural.runtime import load_keras, precision
from zl_assets.errors import ConfigurationError

WIDTH = 16
"""Units of a recurrent layer, filters of a convolution, size of a token."""

Layers = Any


def build(architecture: str, window: int, n_channels: int) -> Any:
    """A new net of shape (batch, window, n_channels) -> (batch, 7); its departures are 0 until it is trained.

    Raises:
        ConfigurationError: the architecture is not one of ARCHITECTURES.
    """
    if architecture not in ARCHITECTURES:
        raise ConfigurationError(
            f"there is no architecture {architecture}", where="neural", action=f"choose from {', '.join(ARCHITECTURES)}"
        )
    keras = load_keras()
    with precision(keras):
        inputs = keras.Input((window, n_channels))
        summary = ARCHITECTURES[architecture](keras.layers, inputs)
        # Small numbers decide here, so the head stays at full precision on a GPU, too.
        head = keras.layers.Dense(len(QUANTILE_LEVELS), kernel_initializer="zeros", dtype="float32", name="departures")
        return keras.Model(inputs, head(summary), name=architecture)


def _lstm(layers: Layers, x: Any) -> Any:
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""
    return layers.LSTM(WIDTH)(x)


def _gru(layers: Layers, x: Any) -> Any:
    """Gated recurrent units (Cho et al. 2014)."""
    return layers.GRU(WIDTH)(x)


def _lstm_stacked(layers: Layers, x: Any) -> Any:
    return layers.LSTM(WIDTH // 2)(layers.LSTM(WIDTH, return_sequences=True)(x))


def _gru_stacked(layers: Layers, x: Any) -> Any:
    return layers.GRU(WIDTH // 2)(layers.GRU(WIDTH, return_sequences=True)(x))


def _tcn(layers: Layers, x: Any) -> Any:
    """Causal dilated convolutions with residual connections (Bai, Kolter and Koltun 2018); the last step sees 63."""
    x = layers.Dense(WIDTH)(x)
    for dilation in (1, 2, 4, 8, 16):
        step = layers.Conv1D(WIDTH, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        x = layers.Add()([x, step])
    return _last(layers, x)


def _cnn_lstm(layers: Layers, x: Any) -> Any:
    """A convolution over a week, halved in time, before a recurrent layer."""
    x = layers.Conv1D(WIDTH, 5, padding="causal", activation="relu")(x)
    return layers.LSTM(WIDTH)(layers.AveragePooling1D(2)(x))


def _attention(layers: Layers, x: Any) -> Any:
    """The last state of a recurrent layer beside the states it attends to by dot product (Luong et al. 2015)."""
    states = layers.GRU(WIDTH, return_sequences=True)(x)
    last = layers.Cropping1D((states.shape[1] - 1, 0))(states)
    context = layers.Attention()([last, states])
    return layers.Flatten()(layers.Concatenate()([last, context]))


def _transformer(layers: Layers, x: Any) -> Any:
    """One encoder block (Vaswani et al. 2017), normalised before each part (Xiong et al. 2020), read at the last step.

    The bias of the embedding has an entry for each step and so learns the positions.
    """
    x = layers.EinsumDense("btf,fd->btd", output_shape=(x.shape[1], WIDTH), bias_axes="td")(x)
    normal = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(num_heads=2, key_dim=WIDTH // 2)(normal, normal)])
    wide = layers.Dense(2 * WIDTH, activation="relu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(WIDTH)(wide)])
    return _last(layers, layers.LayerNormalization()(x))


def _last(layers: Layers, x: Any) -> Any:
    return layers.Flatten()(layers.Cropping1D((x.shape[1] - 1, 0))(x))


ARCHITECTURES: dict[str, Callable[[Layers, Any], Any]] = {
    "lstm": _lstm,
    "gru": _gru,
    "lstm_stacked": _lstm_stacked,
    "gru_stacked": _gru_stacked,
    "tcn": _tcn,
    "cnn_lstm": _cnn_lstm,
    "attention": _attention,
    "transformer": _transformer,
}
"""From layers and a window to what the head reads, by name."""
