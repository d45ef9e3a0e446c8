"""Keras on TensorFlow: its fit, with XLA as fit chooses by itself and forced; for inference a traced function.

After the first call, which is given its rows in the common order, fit shuffles by itself.
"""

from __future__ import annotations

import os

import numpy as np

from perf import cases, rivals


def why_not() -> str:
    return rivals.missing("Keras with TensorFlow", "pip install keras tensorflow-cpu", "keras", "tensorflow")


def settings(what: str) -> list[dict]:
    return [{"jit_compile": choice} for choice in (("auto", True) if what == "trainer" else (False, True))]


def network(case, weights):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    dense = keras.layers.Dense
    layers = [keras.Input((case.inputs,)), *(dense(units, case.activation) for units in case.hidden)]
    model = keras.Sequential([*layers, dense(1, "sigmoid")])
    model.set_weights([array for layer in weights for array in layer])
    return model


def trainer(case, weights, X, y, jit_compile):
    model = network(case, weights)
    import keras

    if case.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(case.learning_rate)
    else:
        optimizer = keras.optimizers.Adam(case.learning_rate, cases.BETA_1, cases.BETA_2, cases.EPSILON)
    model.compile(optimizer, "binary_crossentropy", jit_compile=jit_compile)
    first = True

    def train():
        nonlocal first
        if first:
            order, first = next(cases.orders(case)), False
            return model.fit(X[order], y[order], case.batch_size, 1, verbose=0, shuffle=False).history["loss"]
        return model.fit(X, y, case.batch_size, case.epochs, verbose=0).history["loss"]

    return train


def predictor(case, weights, X, jit_compile):
    model = network(case, weights)
    import tensorflow as tf

    run, x = tf.function(lambda x: model(x, training=False), jit_compile=jit_compile), tf.constant(X)
    return lambda: np.asarray(run(x))
