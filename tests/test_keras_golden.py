"""Losses, weights, predictions and histories follow real Keras 3.15, from the golden record in tests/golden."""

import json
from pathlib import Path

import numpy as np
import pytest
from hosted import Hosted

import minidl
from minidl import contract, losses, metrics, optimizers, regularizers
from minidl.engines import ENGINES, why_not

GOLDEN = Path(__file__).parent / "golden"
RECORD = json.loads((GOLDEN / "keras.json").read_text())
ARRAYS = np.load(GOLDEN / "keras.npz")
# In float32 a weight may differ by this share of its tensor's largest entry after 50 steps, in float64 by that.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
RUNNING = [name for name in ENGINES if not why_not(name)]
CASES = {case["name"]: case for case in RECORD["cases"]}


def layer(config, first):
    if config["type"] == "Normalization":
        return minidl.Normalization(input_shape=(6,) if first else None)
    penalty = config.get("kernel_regularizer")
    return minidl.Dense(
        config["units"],
        config.get("activation"),
        config.get("use_bias", True),
        kernel_regularizer=regularizers.L1L2(**penalty) if penalty else None,
        input_shape=(6,) if first else None,
        trainable=config.get("trainable", True),
    )


def from_config(config, module):
    if isinstance(config, str):
        return module.get(config)
    arguments = {key: value for key, value in config.items() if key != "type"}
    return getattr(module, config["type"])(**arguments)


def model_of(case, engine):
    layers = [layer(config, place == 0) for place, config in enumerate(case["layers"])]
    model = minidl.Sequential(layers, seed=0)
    model.compile(
        from_config(case["optimizer"], optimizers),
        from_config(case["loss"], losses),
        metrics=[metric for metric in case["metrics"] if isinstance(metric, str)],
        engine=engine,
        dtype=case["dtype"],
    )
    x = ARRAYS[case["x"]]
    if case["layers"][0]["type"] == "Normalization":
        model.layers[0].adapt(x)
    model.set_weights(weights_of(case, "initial"))
    return model


def weights_of(case, when):
    """Keras's weights, without the row count that its Normalization keeps as a third array."""
    arrays, place = [], 0
    while f"{case['name']}/{when}/{place}" in ARRAYS:
        array = ARRAYS[f"{case['name']}/{when}/{place}"]
        place += 1
        if array.ndim:
            arrays.append(array)
    return arrays


def data_of(case):
    weight = ARRAYS[case["sample_weight"]] if case["sample_weight"] else None
    return ARRAYS[case["x"]], ARRAYS[case["y"]], weight


def assert_weights(model, case, when):
    for found, expected in zip(model.get_weights(), weights_of(case, when), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[case["dtype"]] * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore::UserWarning")  # some cases are the ones that minidl warns of
@pytest.mark.parametrize("engine", RUNNING)
@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_follow_keras(name, engine):
    case = CASES[name]
    tolerance = TOLERANCE[case["dtype"]]
    x, y, weight = data_of(case)
    model = model_of(case, engine)
    found, size = [], RECORD["batch_size"]
    for step in range(RECORD["steps"]):
        start = (step * size) % (size * -(-len(x) // size))
        rows = slice(start, start + size)
        result = model.train_on_batch(x[rows], y[rows], None if weight is None else weight[rows])
        found.append(result[0] if isinstance(result, list) else result)
        if step == 0:
            assert_weights(model, case, "step1")
    # These two take log(p) of a linear output that passes close to 0, which magnifies the last bit of a float32 sum.
    magnified = 3 if name in ("bce_linear_float32", "bce_relu_float32") else 1
    np.testing.assert_allclose(found, case["losses"], rtol=magnified * tolerance, atol=tolerance)
    assert_weights(model, case, "step50")
    np.testing.assert_allclose(model.predict(x), ARRAYS[f"{name}/predict"], rtol=0, atol=20 * tolerance)
    evaluated = model.evaluate(x, y, sample_weight=weight, return_dict=True)
    for key, value in case["evaluate"].items():
        if key in evaluated:
            assert evaluated[key] == pytest.approx(value, rel=10 * tolerance, abs=10 * tolerance), key


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("engine", RUNNING)
@pytest.mark.parametrize("name", CASES)
def test_history_follows_keras(name, engine):
    case = CASES[name]
    x, y, weight = data_of(case)
    model = model_of(case, engine)
    history = model.fit(
        x, y, batch_size=RECORD["batch_size"], epochs=RECORD["fit"]["epochs"], shuffle=False, verbose=0,
        validation_split=RECORD["fit"]["validation_split"], sample_weight=weight,
    ).history  # fmt: skip
    strings = all(isinstance(metric, str) for metric in case["metrics"])
    if strings:
        assert list(history) == list(case["history"])
    for key in history:
        np.testing.assert_allclose(history[key], case["history"][key], rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("record", RECORD["losses"], ids=lambda r: f"{r['type']}-{r['dtype']}")
def test_losses_alone_follow_keras(record):
    loss = from_config({"type": record["type"], **record["arguments"]}, losses)
    value = loss(record["y_true"], np.array(record["y_pred"], record["dtype"]), record["sample_weight"])
    tolerance = 1e-6 if record["dtype"] == "float32" else 1e-12
    assert value == pytest.approx(record["value"], rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("engine", RUNNING)
@pytest.mark.parametrize("record", RECORD["losses"], ids=lambda r: f"{r['type']}-{r['dtype']}")
def test_gradients_of_losses_follow_keras(record, engine):
    loss = from_config({"type": record["type"], **record["arguments"]}, losses)
    p = np.array(record["y_pred"], record["dtype"])
    y = np.array(record["y_true"], record["dtype"])
    y = np.eye(p.shape[1], dtype=p.dtype)[y.astype(int).ravel()] if loss.takes_indices else y
    name = contract.LOSSES[loss.code]
    rows = getattr(Hosted(minidl.get_engine(engine)), name)(y, p)
    slope = getattr(Hosted(minidl.get_engine(engine)), f"{name}_backward")(y, p)
    weight = np.ones(len(p)) if record["sample_weight"] is None else np.array(record["sample_weight"])
    tolerance = 1e-6 if record["dtype"] == "float32" else 1e-12
    np.testing.assert_allclose(rows, record["rows"], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(slope * weight[:, None] / len(p), record["gradient"], rtol=tolerance, atol=tolerance)


# Keras's AUC takes other thresholds, logits and weights too; minidl's has none of these.
PLAIN = [r for r in RECORD["metrics"] if not r["arguments"] and all(update[2] is None for update in r["updates"])]


@pytest.mark.parametrize("engine", RUNNING)
@pytest.mark.parametrize("record", PLAIN, ids=lambda r: f"{r['type']}-{r['dtype']}")
def test_metrics_alone_follow_keras(record, engine):
    metric = metrics.METRICS[
        {"AUC": "auc", "SparseCategoricalAccuracy": "sparse_categorical_accuracy"}.get(
            record["type"], {"BinaryAccuracy": "binary_accuracy", "CategoricalAccuracy": "categorical_accuracy",
                             "MeanSquaredError": "mse", "MeanAbsoluteError": "mae"}.get(record["type"])
        )
    ]()  # fmt: skip
    sums, rows = np.zeros(metric.width), 0
    operations = {"AUC": "auc_histograms", "SparseCategoricalAccuracy": "categorical_accuracy"}
    operation = getattr(Hosted(minidl.get_engine(engine)), operations.get(record["type"], metric.name))
    for y, p, _ in record["updates"]:
        p, y = np.array(p, record["dtype"]), np.array(y, record["dtype"])
        p = p.reshape(-1, 1) if p.ndim == 1 else p
        y = np.eye(p.shape[1], dtype=p.dtype)[y.astype(int).ravel()] if "Sparse" in record["type"] else y
        y = y.reshape(len(p), -1)
        rows += len(p)
        if record["type"] == "AUC":
            operation(y, p, sums.reshape(2, -1))
        else:
            sums[0] += operation(y, p).sum()
    assert metric.result(sums, rows) == pytest.approx(record["value"], abs=1e-6)
