"""ONNX Runtime: the network as a graph of Gemm nodes, optimised when the session is made; inference alone."""

from __future__ import annotations

from perf import rivals


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
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph(case, weights), options, providers=["CPUExecutionProvider"])
    feed = {"x": X}
    return lambda: session.run(None, feed)[0]
