"""ONNX Runtime: the network as a graph of Gemm nodes, optimised when the session is made; inference alone."""

from __future__ import annotations

import tempfile

from perf import cases, rivals


def why_not() -> str:
    return rivals.missing("ONNX Runtime", "pip install onnxruntime onnx", "onnxruntime", "onnx")


def settings(what: str) -> list[dict]:
    return rivals.thread_counts()


def graph(case, weights) -> bytes:
    """The network in ONNX's format."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, given = [], [], "x"
    for layer, (W, b) in enumerate(weights):
        constants += [numpy_helper.from_array(W, f"W{layer}"), numpy_helper.from_array(b, f"b{layer}")]
        activation = "Relu" if case.activation == "relu" and layer < len(weights) - 1 else "Sigmoid"
        nodes.append(helper.make_node("Gemm", [given, f"W{layer}", f"b{layer}"], [f"z{layer}"]))
        nodes.append(helper.make_node(activation, [f"z{layer}"], [f"a{layer}"]))
        given = f"a{layer}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
            for name, width in (("x", case.inputs), (given, 1))]  # fmt: skip
    made = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def predictor(case, weights, X, threads):
    return bound(graph(case, weights), X, threads)


def int8(case, weights, X, threads):
    """Weights in int8 with a scale for each unit, activations in uint8, by static calibration."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        rows = iter([{"x": cases.calibration(case)}])

        def get_next(self):
            return next(self.rows, None)

    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/float.onnx", f"{folder}/int8.onnx"
        with open(before, "wb") as file:
            file.write(graph(case, weights))
        q.quantize_static(
            before, after, Reader(), q.QuantFormat.QDQ, per_channel=True, activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
        )  # fmt: skip
        with open(after, "rb") as file:
            return bound(file.read(), X, threads)


def bound(content, X, threads):
    """A call of the network on the rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {"x": X}
    return lambda: session.run(None, feed)[0]
