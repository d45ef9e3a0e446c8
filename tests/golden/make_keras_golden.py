"""Writes keras.json and keras.npz: what real Keras computes for small fixed problems.

minidl's tests compare with these two files and need neither Keras nor TensorFlow.
To make them again (a few minutes on one CPU core):

    pip install tensorflow-cpu "keras==3.15.*"
    python tests/golden/make_keras_golden.py

keras.json, "cases": one entry per small training problem, with its configuration
and, from one run of 10 epochs x 5 batches through `train_on_batch` (rows in order,
batches of 16, the last one of 4):
  losses      the loss of each of the 50 batches before its update, penalties included
  evaluate    `evaluate(x, y, batch_size=16, return_dict=True)` after step 50
  history     `fit(epochs=3, shuffle=False, validation_split=0.25).history`, a separate
              run from the same initial weights with a new optimizer
"x", "y" and "sample_weight" (or null) are keys of keras.npz, as are
  <name>/initial/<k>, <name>/step1/<k>, <name>/step50/<k>   get_weights() in Keras's order
  <name>/predict                                            predict(x) after step 50
The sample weights, where there are any, go to train_on_batch, evaluate and fit.
A Normalization layer has been adapted on x before anything else.

keras.json, "losses" and "metrics": single losses (with the gradient with respect to
y_pred) and metrics on small vectors with extreme values.

Hyperparameters are short binary fractions, so that they are the same in float32 and
float64, except in the cases named "default_...", which leave Keras its defaults.
"""
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).resolve().parent
ROWS, INPUTS, BATCH, EPOCHS = 68, 6, 16, 10
FIT = {"epochs": 3, "validation_split": 0.25}
BOTH, F32, F64 = ("float64", "float32"), ("float32",), ("float64",)


# ---- configurations: plain dicts, so that they can go into the json ----

def dense(units, activation="linear", **more):
    return {"type": "Dense", "units": units, "activation": activation, **more}


def sgd(**more):
    return {"type": "SGD", "learning_rate": 0.125, **more}


NORMALIZATION = {"type": "Normalization"}
ADAM = {"type": "Adam", "learning_rate": 2**-5, "beta_1": 0.875, "beta_2": 1 - 2**-10, "epsilon": 2**-20}
ADAMW = {**ADAM, "type": "AdamW", "weight_decay": 2**-4}
BCE_LOGITS = {"type": "BinaryCrossentropy", "from_logits": True}
CCE_LOGITS = {"type": "CategoricalCrossentropy", "from_logits": True}
SCCE_LOGITS = {"type": "SparseCategoricalCrossentropy", "from_logits": True}
AUC_LOGITS = {"type": "AUC", "from_logits": True}
L1, L2, L1L2 = {"l1": 2**-6, "l2": 0.0}, {"l1": 0.0, "l2": 2**-6}, {"l1": 2**-7, "l2": 2**-6}

HIDDEN = dense(5, "tanh")
REGRESSION = [HIDDEN, dense(1)]
BINARY = [HIDDEN, dense(1, "sigmoid")]
CLASSES = [HIDDEN, dense(3, "softmax")]
POSITIVE = [dense(5, "sigmoid"), dense(3)]
BINARY_METRICS = ["accuracy", "AUC", "mae", "mse"]


def case(name, layers, loss, y, optimizer=None, metrics=(), weights=False, x="x", dtypes=BOTH, initial=(-0.8, 0.8)):
    return {"name": name, "layers": layers, "loss": loss, "y": y, "optimizer": optimizer or sgd(),
            "metrics": list(metrics), "sample_weight": "sample_weight" if weights else None, "x": x,
            "dtypes": dtypes, "initial": initial}


CASES = [
    # Optimizers.
    case("sgd", REGRESSION, "mse", "real1", metrics=["mae"]),
    case("sgd_momentum", REGRESSION, "mse", "real1", sgd(momentum=0.875)),
    case("sgd_nesterov", REGRESSION, "mse", "real1", sgd(momentum=0.875, nesterov=True)),
    case("adam", REGRESSION, "mse", "real1", ADAM),
    case("adamw", REGRESSION, "mse", "real1", ADAMW),
    case("default_sgd", REGRESSION, "mse", "real1", {"type": "SGD"}, dtypes=F32),
    case("default_adam", BINARY, "binary_crossentropy", "binary1", {"type": "Adam"}, dtypes=F32),
    case("default_adamw", CLASSES, "categorical_crossentropy", "onehot", {"type": "AdamW"}, dtypes=F32),
    # Regression losses.
    case("mse_flat_y", REGRESSION, "mse", "real_flat", metrics=["mae", "mse"]),
    case("mse_3_outputs", [dense(5, "relu"), dense(3)], "mean_squared_error", "real3",
         metrics=["mean_absolute_error"]),
    case("mae", REGRESSION, "mae", "real1", metrics=["mse"], dtypes=F64),
    # Binary crossentropy.
    case("bce_sigmoid", BINARY, "binary_crossentropy", "binary1", metrics=BINARY_METRICS),
    case("bce_sigmoid_flat_y", BINARY, "binary_crossentropy", "binary_flat", metrics=BINARY_METRICS),
    case("bce_multilabel", [HIDDEN, dense(3, "sigmoid")], "binary_crossentropy", "binary3",
         metrics=["accuracy", "AUC"]),
    case("bce_linear", REGRESSION, "binary_crossentropy", "binary1", sgd(learning_rate=2**-12),
         metrics=["accuracy", "mae"]),
    case("bce_relu", [HIDDEN, dense(1, "relu")], "binary_crossentropy", "binary1", sgd(learning_rate=2**-12),
         metrics=["accuracy"]),
    case("bce_logits", REGRESSION, BCE_LOGITS, "binary1", metrics=[AUC_LOGITS]),
    case("bce_logits_after_sigmoid", BINARY, BCE_LOGITS, "binary1", dtypes=F64),
    # Categorical crossentropy.
    case("cce_softmax", CLASSES, "categorical_crossentropy", "onehot", metrics=["accuracy"]),
    case("cce_logits", [HIDDEN, dense(3)], CCE_LOGITS, "onehot", metrics=["accuracy"]),
    case("cce_logits_after_softmax", CLASSES, CCE_LOGITS, "onehot", dtypes=F64),
    case("scce_softmax", CLASSES, "sparse_categorical_crossentropy", "label_flat", metrics=["accuracy"]),
    case("scce_softmax_column_y", CLASSES, "sparse_categorical_crossentropy", "label1", metrics=["accuracy"]),
    case("scce_logits", [HIDDEN, dense(3)], SCCE_LOGITS, "label_flat", metrics=["accuracy"]),
    # From outputs of neither a softmax nor a sigmoid: Keras makes the rows sum to one.
    case("cce_positive", POSITIVE, "categorical_crossentropy", "onehot", sgd(learning_rate=2**-6),
         metrics=["acc"], initial=(0.02, 0.25)),
    case("scce_positive", POSITIVE, "sparse_categorical_crossentropy", "label_flat", sgd(learning_rate=2**-6),
         metrics=["acc"], initial=(0.02, 0.25)),
    # Keras on TensorFlow takes the values before the sigmoid or softmax of the last layer for
    # logits, whatever the loss: this is softmax crossentropy before a sigmoid, and the reverse.
    case("cce_sigmoid", [HIDDEN, dense(3, "sigmoid")], "categorical_crossentropy", "onehot", metrics=["acc"]),
    case("scce_sigmoid", [HIDDEN, dense(3, "sigmoid")], "sparse_categorical_crossentropy", "label_flat", dtypes=F64),
    case("bce_softmax", CLASSES, "binary_crossentropy", "binary3", dtypes=F64),
    # Layers.
    case("activations", [dense(7, "relu"), dense(6, "sigmoid"), dense(5, "softmax"), dense(4, "tanh"),
                         dense(3, "linear"), dense(1)], "mse", "real1"),
    case("l1", [dense(5, "tanh", kernel_regularizer=L1), dense(1)], "mse", "real1"),
    case("l2", [dense(5, "tanh", kernel_regularizer=L2), dense(1)], "mse", "real1"),
    case("l1_l2", [dense(5, "tanh", kernel_regularizer=L1L2), dense(1, kernel_regularizer=L2)], "mse", "real1", ADAM),
    case("no_bias", [dense(5, "tanh", use_bias=False), dense(1, use_bias=False)], "mse", "real1", dtypes=F64),
    case("frozen", [dense(5, "tanh"), dense(4, "relu", kernel_regularizer=L1L2, trainable=False), dense(1)],
         "mse", "real1", ADAMW, metrics=["mae"]),
    case("normalization", [NORMALIZATION, *REGRESSION], "mse", "real1", x="x_raw"),
    # Sample weights.
    case("weighted_mse", REGRESSION, "mse", "real1", metrics=["mae", "mse"], weights=True),
    case("weighted_mse_flat_y", REGRESSION, "mse", "real_flat", metrics=["mae"], weights=True, dtypes=F64),
    case("weighted_mse_3_outputs", [HIDDEN, dense(3)], "mse", "real3", metrics=["mae"], weights=True, dtypes=F64),
    case("weighted_bce", BINARY, "binary_crossentropy", "binary1", metrics=BINARY_METRICS, weights=True),
    case("weighted_bce_multilabel", [HIDDEN, dense(3, "sigmoid")], "binary_crossentropy", "binary3",
         metrics=["accuracy"], weights=True, dtypes=F64),
    case("weighted_bce_logits", REGRESSION, BCE_LOGITS, "binary_flat", metrics=[AUC_LOGITS], weights=True, dtypes=F64),
    case("weighted_cce", CLASSES, "categorical_crossentropy", "onehot", metrics=["accuracy"], weights=True),
    case("weighted_scce", CLASSES, "sparse_categorical_crossentropy", "label_flat", metrics=["accuracy"],
         weights=True),
    # Everything at once.
    case("everything", [NORMALIZATION, dense(7, "relu", kernel_regularizer=L1L2),
                        dense(5, "tanh", kernel_regularizer=L2, trainable=False),
                        dense(4, "sigmoid", use_bias=False), dense(1, "sigmoid", kernel_regularizer=L1)],
         "binary_crossentropy", "binary_flat", ADAMW, metrics=BINARY_METRICS, weights=True, x="x_raw"),
]


# ---- data and models ----

def make_data():
    rng = np.random.default_rng(2024)
    x = rng.normal(size=(ROWS, INPUTS))
    x_raw = 3 * x * np.arange(1, INPUTS + 1) + 10
    x_raw[:, 3] = 5.0                                   # a constant column
    score = np.tanh(x) @ rng.normal(size=(INPUTS, 3)) + 0.3 * rng.normal(size=(ROWS, 3))
    binary, label = (score > 0).astype(float), score.argmax(axis=1)
    weight = rng.integers(0, 9, size=ROWS) / 4          # from 0 to 2, some of them 0
    return {"x": x, "x_raw": x_raw, "sample_weight": weight,
            "real1": score[:, :1], "real_flat": score[:, 0], "real3": score,
            "binary1": binary[:, :1], "binary_flat": binary[:, 0], "binary3": binary,
            "onehot": np.eye(3)[label], "label1": label[:, None].astype("int32"),
            "label_flat": label.astype("int32")}


def cast(array, dtype):
    return array if array.dtype == "int32" else array.astype(dtype)


def from_config(module, config):
    """A string stays as it is; {"type": "AUC", ...} becomes module.AUC(...)."""
    if isinstance(config, str):
        return config
    return getattr(module, config["type"])(**{k: v for k, v in config.items() if k != "type"})


def make_layer(config):
    if regularizer := config.get("kernel_regularizer"):
        l1, l2 = regularizer["l1"], regularizer["l2"]
        config = {**config, "kernel_regularizer": keras.regularizers.L1L2(l1=l1, l2=l2) if l1 and l2 else
                  keras.regularizers.L1(l1) if l1 else keras.regularizers.L2(l2)}
    return from_config(keras.layers, config)


def make_model(config, x):
    layers = [make_layer(layer) for layer in config["layers"]]
    model = keras.Sequential([keras.Input((INPUTS,)), *layers])
    rng = np.random.default_rng(7)
    for layer in layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt(x)
        else:
            layer.set_weights([rng.uniform(*config["initial"], size=w.shape) for w in layer.get_weights()])
    model.compile(optimizer=from_config(keras.optimizers, config["optimizer"]),
                  loss=from_config(keras.losses, config["loss"]),
                  metrics=[from_config(keras.metrics, m) for m in config["metrics"]])
    return model


def as_floats(logs):
    return {name: [float(v) for v in value] if isinstance(value, list) else float(value)
            for name, value in logs.items()}


# ---- one case ----

def run_case(config, data, dtype):
    """Returns the case's json entry and its arrays."""
    keras.backend.clear_session()
    name = f"{config['name']}_{dtype}"
    entry = {"name": name, "dtype": dtype}
    entry.update((key, config[key]) for key in ("layers", "optimizer", "loss", "metrics", "x", "y", "sample_weight"))
    for key in ("x", "y", "sample_weight"):
        if config[key]:
            entry[key] = config[key] if data[config[key]].dtype == "int32" else f"{config[key]}_{dtype}"
    arrays = {entry[key]: cast(data[config[key]], dtype) for key in ("x", "y", "sample_weight") if config[key]}
    x, y, weight = (arrays.get(entry[key]) for key in ("x", "y", "sample_weight"))

    model = make_model(config, x)

    def keep_weights(when):
        arrays.update({f"{name}/{when}/{k}": w for k, w in enumerate(model.get_weights())})

    keep_weights("initial")
    entry["losses"] = []
    for start in list(range(0, ROWS, BATCH)) * EPOCHS:
        rows = slice(start, start + BATCH)
        logs = model.train_on_batch(x[rows], y[rows], None if weight is None else weight[rows], return_dict=True)
        entry["losses"].append(float(logs["loss"]))
        if len(entry["losses"]) == 1:
            keep_weights("step1")
    keep_weights("step50")
    arrays[f"{name}/predict"] = model.predict(x, batch_size=BATCH, verbose=0)
    entry["evaluate"] = as_floats(model.evaluate(x, y, sample_weight=weight, batch_size=BATCH,
                                                 return_dict=True, verbose=0))
    model = make_model(config, x)
    entry["history"] = as_floats(model.fit(x, y, sample_weight=weight, batch_size=BATCH, shuffle=False,
                                           verbose=0, **FIT).history)
    return entry, arrays


# ---- single losses and metrics ----

EXTREME = [0.0, 1.0, 1e-9, 1e-7, 2e-7, 0.5, 1 - 2**-20, 1.5, -0.5, 0.25]
LOGITS = [-1000.0, -50.0, -1.0, 0.0, 0.5, 30.0, 200.0, 1000.0]
ROWS3 = [[0.0, 1.0, 0.0], [0.2, 0.3, 0.5], [0.5, 0.5, 0.5], [1e-9, 2.0, 1e-8], [0.1, 0.0, 0.7]]
LOGITS3 = [[0.0, 0.0, 0.0], [1.0, -2.0, 0.5], [1000.0, 0.0, -1000.0], [-50.0, 50.0, 0.0], [3.0, 3.0, -1.0]]
ONEHOT3 = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
LABELS3 = [0, 2, 1, 2, 1]
WEIGHTS5 = [1.0, 0.0, 2.5, 0.5, 1.25]


def column(values):
    return [[v] for v in values]


LOSSES = [  # class, its arguments, y_true, y_pred, sample_weight
    ("MeanSquaredError", {}, [[1.0, 2.0], [0.0, -1.0]], [[1.5, 0.0], [0.25, -3.0]], [0.5, 2.0]),
    ("MeanAbsoluteError", {}, [[1.0, 2.0], [0.0, -1.0]], [[1.5, 2.0], [0.25, -3.0]], [0.5, 2.0]),
    *[("BinaryCrossentropy", {}, column([t] * len(EXTREME)), column(EXTREME), None) for t in (0.0, 1.0, 0.75)],
    *[("BinaryCrossentropy", {"from_logits": True}, column([t] * len(LOGITS)), column(LOGITS), None)
      for t in (0.0, 1.0, 0.75)],
    ("BinaryCrossentropy", {}, ONEHOT3, ROWS3, WEIGHTS5),
    ("CategoricalCrossentropy", {}, ONEHOT3, ROWS3, None),
    ("CategoricalCrossentropy", {}, ONEHOT3, ROWS3, WEIGHTS5),
    ("CategoricalCrossentropy", {"from_logits": True}, ONEHOT3, LOGITS3, None),
    ("SparseCategoricalCrossentropy", {}, LABELS3, ROWS3, None),
    ("SparseCategoricalCrossentropy", {}, column(LABELS3), ROWS3, WEIGHTS5),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABELS3, LOGITS3, None),
]


def run_loss(kind, arguments, y_true, y_pred, weight, dtype):
    loss = getattr(keras.losses, kind)(**arguments)
    prediction = tf.constant(y_pred, dtype)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = loss(np.array(y_true), prediction, sample_weight=weight)
    rows = getattr(keras.losses, kind)(reduction=None, **arguments)(np.array(y_true), prediction)
    return {"type": kind, "arguments": arguments, "dtype": dtype, "y_true": y_true, "y_pred": y_pred,
            "sample_weight": weight, "value": float(value), "rows": rows.numpy().tolist(),
            "gradient": tape.gradient(value, prediction).numpy().tolist()}


TRUE10 = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0]
ON_THRESHOLDS = [k / 199 for k in (0, 1, 2, 3, 50, 66, 100, 197, 198, 199)]
METRICS = [  # class, its arguments, then one (y_true, y_pred, sample_weight) per update_state
    ("AUC", {}, [([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9], None)]),
    ("AUC", {"num_thresholds": 3}, [([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9], None)]),
    ("AUC", {}, [([0, 1, 0, 1, 0, 1], [0.0, 0.0, 1.0, 1.0, 0.5, 0.5], None)]),
    ("AUC", {}, [([0, 1, 1, 0], [0.5, 0.5, 0.5, 0.5], None)]),
    ("AUC", {}, [(TRUE10, ON_THRESHOLDS, None)]),
    ("AUC", {}, [(column(TRUE10), column([0.91, 0.35, 0.352, 0.354, 0.8, 0.1, 0.35, 0.6, 0.97, 0.6]), None)]),
    ("AUC", {}, [(TRUE10, [0.91, 0.35, 0.352, 0.354, 0.8, 0.1, 0.35, 0.6, 0.97, 0.6],
                  [0.0, 1.0, 2.0, 0.5, 0.25, 1.0, 3.0, 1.0, 0.0, 1.5])]),
    ("AUC", {}, [(TRUE10[:4], [0.2, 0.8, 0.4, 0.4], None), (TRUE10[4:], [0.9, 0.1, 0.3, 0.3, 0.2, 0.7], None)]),
    ("AUC", {}, [([0, 0, 0], [0.1, 0.5, 0.9], None)]),
    ("AUC", {}, [([1, 1], [0.1, 0.9], None)]),
    ("AUC", {"from_logits": True}, [(TRUE10, [-3.0, 2.0, 0.0, 0.0, 40.0, -40.0, 1.0, 0.5, 1000.0, -1000.0], None)]),
    ("AUC", {}, [(ONEHOT3, [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.5]],
                  None)]),
    ("BinaryAccuracy", {}, [(column([0, 1, 1, 0]), column([0.5, 0.5, 0.5000001, 0.49]), None)]),
    ("BinaryAccuracy", {"threshold": 0.25}, [([0, 1, 1, 0], [0.25, 0.25, 0.3, 0.2], None)]),
    ("BinaryAccuracy", {}, [(ONEHOT3, ROWS3, WEIGHTS5)]),
    ("CategoricalAccuracy", {}, [(ONEHOT3, ROWS3, None)]),
    ("CategoricalAccuracy", {}, [(ONEHOT3, ROWS3, WEIGHTS5)]),
    ("SparseCategoricalAccuracy", {}, [(LABELS3, ROWS3, None), (column(LABELS3[:2]), ROWS3[:2], None)]),
    ("MeanSquaredError", {}, [(ONEHOT3, ROWS3, None), (ONEHOT3[:2], ROWS3[1:3], WEIGHTS5[:2])]),
    ("MeanAbsoluteError", {}, [(ONEHOT3, ROWS3, WEIGHTS5)]),
]


def run_metric(kind, arguments, updates, dtype):
    metric = getattr(keras.metrics, kind)(**arguments)
    for y_true, y_pred, weight in updates:
        metric.update_state(np.array(y_true), np.array(y_pred, dtype),
                            sample_weight=None if weight is None else np.array(weight, dtype))
    return {"type": kind, "arguments": arguments, "dtype": dtype, "updates": updates, "value": float(metric.result())}


# ---- the files ----

def to_json(result):
    """Readable json: one key per line in a case, one line per single loss or metric."""
    def block(entry):
        return "{" + ",\n   ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entry.items()) + "}"
    parts = [f'"{k}": {json.dumps(v)}' for k, v in result.items() if not isinstance(v, list)]
    parts += [f'"{k}": [\n  ' + ",\n  ".join(map(block if k == "cases" else json.dumps, v)) + "\n ]"
              for k, v in result.items() if isinstance(v, list)]
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def main():
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    data, arrays = make_data(), {}
    result = {"versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__},
              "batch_size": BATCH, "steps": EPOCHS * -(-ROWS // BATCH), "fit": FIT,
              "cases": [], "losses": [], "metrics": []}
    for dtype in BOTH:
        keras.backend.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        for config in CASES:
            if dtype in config["dtypes"]:
                entry, more = run_case(config, data, dtype)
                result["cases"].append(entry)
                arrays.update(more)
                print(entry["name"], entry["losses"][0], entry["losses"][-1], flush=True)
        result["losses"] += [run_loss(*item, dtype) for item in LOSSES]
        result["metrics"] += [run_metric(*item, dtype) for item in METRICS]
    (HERE / "keras.json").write_text(to_json(result))
    np.savez_compressed(HERE / "keras.npz", **arrays)


if __name__ == "__main__":
    main()
