"""scikit-learn's MLPClassifier: fit with warm_start, or partial_fit for each epoch.

Where it means something else: fit begins each time with fresh moments of Adam; after the first call, which is given its
rows in the common order, it shuffles by itself. Its penalty is set to 0 and its stopping rules are out of reach.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np

from perf import cases, rivals


def why_not() -> str:
    return rivals.missing("scikit-learn", "pip install scikit-learn", "sklearn")


def settings(what: str) -> list[dict]:
    if what != "trainer":
        return rivals.thread_counts()
    ways = [{"call": "fit"}, {"call": "partial_fit"}]
    return [first | second for first, second in itertools.product(rivals.thread_counts(), ways)]


def network(case, weights, **more):
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        case.hidden, activation={"relu": "relu", "sigmoid": "logistic"}[case.activation], solver=case.optimizer,
        alpha=0, batch_size=case.batch_size, learning_rate_init=case.learning_rate, momentum=0,
        nesterovs_momentum=False, beta_1=cases.BETA_1, beta_2=cases.BETA_2, epsilon=cases.EPSILON,
        n_iter_no_change=10**9, random_state=cases.SEED, **more,
    )  # fmt: skip
    rows = max(case.batch_size, 2)
    blank = np.zeros((rows, case.inputs), np.float32)
    model.partial_fit(blank, np.arange(rows) % 2, classes=[0, 1])  # makes the arrays, of X's dtype
    model.coefs_ = [W.copy() for W, _ in weights]
    model.intercepts_ = [b.copy() for _, b in weights]
    del model._optimizer  # it has seen a step that does not count
    return model


def trainer(case, weights, X, y, threads, call):
    model = network(case, weights, warm_start=True, max_iter=case.epochs)
    y, first = y[:, 0].astype(int), True
    warnings.simplefilter("ignore")  # that fit has not converged

    def train():
        nonlocal first
        if first:
            order, first = next(cases.orders(case)), False
            model.shuffle = False
            model.partial_fit(X[order], y[order])
            model.shuffle = True
            return [model.loss_]
        if call == "fit":
            return model.fit(X, y).loss_curve_
        return [model.partial_fit(X, y).loss_ for _ in range(case.epochs)]

    return train


def predictor(case, weights, X, threads):
    model = network(case, weights)
    return lambda: model.predict_proba(X)[:, 1:]
