"""Which of a network's products are cuBLASLt's, and what is launched around those that a kernel would do by the way."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import numpy as np

from minidl import contract as c
from minidl.engines.cupy_engine import cublaslt, measured
from minidl.engines.cupy_engine import kernels as k
from minidl.engines.cupy_engine.launches import Network

FORWARD, BACKWARD_X, BACKWARD_W = PRODUCTS = ("forward", "backward_x", "backward_W")
Wanted = Callable[[str, int, int, int], bool]  # of a product, and the layer's rows, inputs and units


def network(device, program, rows: int, precision: int, *, training: bool, with_cublaslt: bool | None = None):
    """A Network whose products are the engine's own (False), cuBLASLt's wherever it can (True), or for each the one
    that was measured to be faster; RuntimeError, or in the last case a warning, where there is no cuBLASLt."""
    wanted: Wanted = lambda *_: True  # noqa: E731
    if with_cublaslt is None:
        wanted = functools.partial(measured.cublaslt_is_faster, device.name, precision)
        layers = [row for row in program.table.tolist() if row[c.KIND] == c.DENSE]
        with_cublaslt = any(wanted(each, rows, row[c.INPUTS], row[c.OUTPUTS]) for row in layers for each in PRODUCTS)
        if with_cublaslt:
            try:
                device.cublaslt  # noqa: B018
            except RuntimeError as missing:
                warnings.warn(str(missing), RuntimeWarning, stacklevel=2)
                with_cublaslt = False
    if not with_cublaslt:
        return Network(device, program, rows, precision, training=training)
    return NetworkWithCublasLt(wanted, device, program, rows, precision, training=training)


class NetworkWithCublasLt(Network):
    """A network of which cuBLASLt computes the products that are ``wanted``, unless it knows no algorithm for one.

    Its shapes are fixed: it always multiplies all ``rows``. Those behind a short batch do no harm forward, since no row
    depends on another; before the sums over the batch they are set to zero. It cannot read rows through an order
    either: these are gathered before.
    """

    def __init__(self, wanted: Wanted, device, program, rows: int, precision: int, *, training: bool):
        self.wanted, self.library = wanted, device.cublaslt
        self.plans: dict[tuple, cublaslt.Product | None] = {}
        self.masks: dict[int, object] = {}  # of outputs of a ReLU: where they are positive, a bit for each
        self.unmasked: set[int] = set()  # of these, those of which no algorithm notes that
        self.gathered = False  # whether the first layer's product has had the batch gathered
        super().__init__(device, program, rows, precision, training=training)

    def most_parts(self) -> int:
        """Where no kernel of the engine's own fills a gradient, one part is enough."""
        learning = [p for p in range(self.start, self.end) if self.learns(p)]
        return 1 if all(self.wants(BACKWARD_W, p) for p in learning) else super().most_parts()

    def wants(self, which: str, p: int) -> bool:
        _, _, inputs, units, _, _ = self.table[p]
        return self.wanted(which, self.rows, inputs, units)

    def plan(self, which: str, p: int, a, b, result, epilogue=cublaslt.PLAIN, **options) -> cublaslt.Product | None:
        """A product of the dense layer p; None where the engine's own kernel computes it. Made before anything is
        recorded, since what is recorded is run before."""
        key = which, p, epilogue, *map(self.address, (a, b, result))
        if key not in self.plans:
            _, _, inputs, units, _, _ = self.table[p]
            shape, transposed = {
                FORWARD: ((self.rows, inputs, units), (False, False)),
                BACKWARD_X: ((self.rows, units, inputs), (False, True)),
                BACKWARD_W: ((inputs, self.rows, units), (True, False)),
            }[which]
            self.plans[key] = self.library.plan(
                self.precision, *shape, a, b, result, transposed=transposed, epilogue=epilogue, **options
            ) if self.wants(which, p) else None  # fmt: skip
        return self.plans[key]

    def gather(self, p: int, X, order) -> None:
        self.for_each(k.GATHER, self.table[p][c.INPUTS], X, order, self.output(p), self.table[p][c.INPUTS])

    # --- the three products -------------------------------------------------------------------------------------------

    def dense(self, p: int, X, order) -> int:
        """As in Network. The bias is added along with the product, and a ReLU done; other activations, and the dropout,
        are launches of their own."""
        activation, q, dropout = self.behind(p)
        x, y = X if order is None else self.output(p), self.output(q)
        masked = activation == c.RELU and self.training and self.wants(FORWARD, p)
        product = self.with_mask(p, q, x) if masked else None
        if product is None:
            epilogue = cublaslt.ADD_BIAS_RELU if activation == c.RELU else cublaslt.ADD_BIAS
            product = self.plan(FORWARD, p, x, self.first(p), y, epilogue, vector=self.second(p))
        if product is None:
            return super().dense(p, X, order)
        if order is not None:
            self.gather(p, X, order)
            self.gathered = True
        self.device.multiply(product)
        if activation not in (c.LINEAR, c.RELU):
            self.activation(activation, y, q)
        if dropout is None:
            return q
        units = self.table[p][c.OUTPUTS]
        self.for_each(k.DROPOUT, units, y, self.output(q + 1), units, self.dropout(dropout))
        return q + 1

    def with_mask(self, p: int, q: int, x) -> cublaslt.Product | None:
        """The product that also notes where its ReLU, the output q, lets the gradient through."""
        if q in self.unmasked:
            return None
        if q not in self.masks:
            width = cublaslt.mask_width(self.table[p][c.OUTPUTS])
            self.masks[q] = self.device.zeros(self.rows * width // 8, np.uint8)
        product = self.plan(
            FORWARD, p, x, self.first(p), self.output(q), cublaslt.ADD_BIAS_RELU_MASK, vector=self.second(p),
            mask=self.masks[q],
        )  # fmt: skip
        if product is None:
            self.unmasked.add(q)
        return product

    def weights_gradient(self, p: int, X, order) -> None:
        """As in Network; the gradient by b is summed along with the product."""
        _, _, inputs, units, first, second = self.table[p]
        in_order = p == self.start and order is not None
        x, dz = X if p == self.start and order is None else self.output(p), self.slope(p + 1)
        db = self.gradient[0][second:] if second < self.program.trainable else None
        epilogue = cublaslt.PLAIN if db is None else cublaslt.SUM_A
        product = self.plan(BACKWARD_W, p, x, dz, self.gradient[0][first:], epilogue, vector=db)
        if product is None:
            super().weights_gradient(p, X, order)
            return
        if in_order and not self.gathered:
            self.gather(p, X, order)
        self.launch(k.CLEAR_REST, self.device.multiprocessors, x, dz, inputs, units, self.rows)
        self.device.multiply(product)

    def gradient_before(self, p: int) -> int:
        """As in Network. The way back through a ReLU is done along with the product where there is a mask; those
        through other activations, and through a dropout, are launches of their own."""
        kind, _, inputs, _, _, _ = self.table[p]
        if kind != c.DENSE or (self.narrow and p == self.end - 1):
            return super().gradient_before(p)
        activation, y, dropout, arrived = self.before(p)
        given, dx = (self.slope(p + 1), self.first(p)), self.slope(arrived)
        mask = None if y in self.unmasked else self.masks.get(y)
        masked = None if mask is None else self.plan(BACKWARD_X, p, *given, dx, cublaslt.TIMES_MASK, mask=mask)
        product = masked or self.plan(BACKWARD_X, p, *given, dx)
        if product is None:
            return super().gradient_before(p)
        self.device.multiply(product)
        if dropout is not None:
            self.for_each(k.DROPOUT, inputs, dx, dx, inputs, self.dropout(dropout))
        if y is not None and masked is None:
            self.for_each(k.ACTIVATION_BACKWARD, inputs, dx, self.output(y), dx, inputs, activation)
        return arrived
