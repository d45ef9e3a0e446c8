"""PyTorch on a GPU: as it comes, compiled with max-autotune, whole steps as a CUDA graph, and both; all resident."""

from __future__ import annotations

from perf import cases, gpu_cases, rivals
from perf.rivals.pytorch import network

LABEL = "PyTorch"
WAYS = dict.fromkeys(("trainer", "predictor"), ("eager", "compiled", "graph", "compiled, graph"))
MODES = {"compiled": "max-autotune", "compiled, graph": "max-autotune-no-cudagraphs"}  # the first brings graphs too


def why_not(device: str) -> str:
    return rivals.missing("PyTorch", "pip install torch", "torch")


def ready(case, device: str, way: str):
    """PyTorch, set to the case's precision, and where it computes; RuntimeError where it cannot."""
    import torch

    if device == "gpu" and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no GPU; pip install torch brings one that does, where there is a driver")
    if device == "cpu" and way != "eager":
        raise RuntimeError("it needs a GPU")
    torch.set_float32_matmul_precision(case.precision)
    return torch, "cuda" if device == "gpu" else "cpu"


def captured(torch, run):
    """``run`` recorded as a graph, after it has run some times on a stream of its own, as PyTorch's manual says."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def trainer(case, weights, X, y, device, way):
    torch, where = ready(case, device, way)
    model = network(case, weights).to(where)
    X, y = torch.from_numpy(X).to(where), torch.from_numpy(y).to(where)
    orders = torch.from_numpy(gpu_cases.orders(case)).to(where, torch.int64)
    betas = (cases.BETA_1, cases.BETA_2)
    optimizer = torch.optim.Adam(
        model.parameters(), case.learning_rate, betas, cases.EPSILON, fused=True, capturable=way.endswith("graph")
    )

    def loss_of(x, goal):
        return torch.nn.functional.binary_cross_entropy_with_logits(model(x), goal)

    if way in MODES:
        loss_of = torch.compile(loss_of, mode=MODES[way])
    total = torch.zeros((), device=where)

    def step(rows):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(X[rows], y[rows])
        loss.backward()
        optimizer.step()
        total.add_(loss.detach(), alpha=len(rows))

    if way.endswith("graph"):
        batch = orders[0, : case.batch_size].clone()
        graph = captured(torch, lambda: step(batch))
        begin_again(torch, model, optimizer, weights)

        def run(rows):
            batch.copy_(rows)
            graph.replay()

    else:
        run = step

    def epoch(order):
        total.zero_()
        for rows in order.split(case.batch_size):
            run(rows)
        return total.clone()

    return lambda: [loss.item() / case.rows for loss in [epoch(order) for order in orders]]


def begin_again(torch, model, optimizer, weights):
    """As if the steps before the recording had not been."""
    with torch.no_grad():
        for found, array in zip(model.parameters(), (array for layer in weights for array in layer), strict=True):
            found.copy_(torch.from_numpy(array.T))
        for kept in optimizer.state.values():
            for memory in kept.values():
                memory.zero_()


def predictor(case, weights, X, device, way):
    torch, where = ready(case, device, way)
    model = torch.nn.Sequential(*network(case, weights), torch.nn.Sigmoid()).eval().to(where)
    if way in MODES:
        model = torch.compile(model, mode=MODES[way])
    with torch.no_grad():
        return one_row(torch, model, X, where, way) if case.rows == 1 else resident_rows(torch, model, X, where, way)


def one_row(torch, model, X, where, way):
    """A NumPy array in, a float out; a graph copies from pinned memory, computes, and copies back."""
    if not way.endswith("graph"):

        def predict():
            with torch.no_grad():
                return float(model(torch.from_numpy(X).to(where)))

        return predict
    pinned, y = torch.from_numpy(X).pin_memory(), torch.empty(1, 1).pin_memory()
    x = pinned.to(where)

    def run():
        x.copy_(pinned, non_blocking=True)
        y.copy_(model(x), non_blocking=True)

    graph, row, out = captured(torch, run), pinned.numpy(), y.numpy()

    def replay():
        row[...] = X
        graph.replay()
        torch.cuda.current_stream().synchronize()
        return float(out[0, 0])

    return replay


def resident_rows(torch, model, X, where, way):
    x, out = torch.from_numpy(X).to(where), {}

    def run():
        with torch.no_grad():
            out["y"] = model(x)

    call = captured(torch, run).replay if way.endswith("graph") else run

    def predict():
        call()
        if where == "cuda":
            torch.cuda.synchronize()
        return rivals.Resident(lambda: out["y"].cpu().numpy())

    return predict
