"""The mathematics: every formula of minidl once, as a SymPy expression.

Its LaTeX, its derivative and the oracle that the engines are tested against all come from the expression (formula.py
says how); nothing here is ever turned into a kernel. Numbers are exact (Rational), never floats.
"""

from __future__ import annotations

import sympy as sp
from sympy import Abs, IndexedBase, Max, Min, Piecewise, Rational, Sum, Symbol, exp, log, sqrt

from minidl.formula import RANGE, Formula, Formulas, K, i, j, k, n, o, q, r, s, u

# --- the symbols ----------------------------------------------------------------------------------------------

X, G = IndexedBase("X", shape=(n, i), real=True), IndexedBase("G", shape=(n, o), real=True)  # G is dL/dZ, from above
W, b = IndexedBase("W", shape=(i, o), real=True), IndexedBase("b", shape=(o,), real=True)
Z, Y, P = (IndexedBase(letter, shape=(n, o), real=True) for letter in "ZYP")  # logits, targets, predictions
w = IndexedBase("w", shape=(K,), real=True)

z, a, x = (Symbol(letter, real=True) for letter in "zax")  # what an activation takes and gives; any number
theta, g, v, m = (Symbol(name, real=True) for name in ("theta", "g", "v", "m"))
theta_next, v_next, m_next = (Symbol(name, real=True) for name in ("thetaprime", "vprime", "mprime"))
eta, mu, beta_1, beta_2, epsilon, lambda_ = sp.symbols("eta mu beta_1 beta_2 epsilon lambda", positive=True)
t = Symbol("t", integer=True, positive=True)
rate, kept = Symbol("p", nonnegative=True), Symbol("B", nonnegative=True)
mean, variance = Symbol("mu_x", real=True), Symbol("sigma_x^2", nonnegative=True)
# In whole numbers: inputs Q, sums S with an offset c, what a step is worth (Delta), the number that stands for 0.
Q, S = IndexedBase("Q", shape=(n, i), real=True), IndexedBase("S", shape=(n, o), real=True)
c, M, steps = (IndexedBase(letter, shape=(o,), real=True) for letter in ("c", "M", "Delta"))
step, zero, least = Symbol("Delta", positive=True), Symbol("q_0", integer=True), Symbol("q_min", integer=True)

largest = Symbol("c_r", real=True)  # the largest logit of the row, though any number gives the same value
loss_of_row = IndexedBase("ell")[r]

# What Adam and AdamW share.
moments = ((m_next, beta_1 * m + (1 - beta_1) * g), (v_next, beta_2 * v + (1 - beta_2) * g**2))
adam_step = eta * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m_next / (sqrt(v_next) + epsilon)


def mean_over_units(term: sp.Expr) -> sp.Expr:
    return Sum(term, (u, 1, o)) / o


def total(term: sp.Expr, index: sp.Symbol) -> sp.Expr:
    return Sum(term, (index, 1, RANGE[index]))


def function(name: str, *arguments: sp.Expr) -> sp.Expr:
    return sp.Function(name)(*arguments)


# --- where they come from -------------------------------------------------------------------------------------

BISHOP = "C. M. Bishop, Pattern Recognition and Machine Learning, 2006"
GOODFELLOW = "I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016"
JACOB = ("B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only "
         "Inference, CVPR 2018")
KINGMA = "D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, end of section 2"

FORMULAS = Formulas((formula.name, formula) for formula in (
    # --- activations ------------------------------------------------------------------------------------------
    Formula("linear", function("id", z), z, "The identity: the output is the weighted sum itself.",
            f"{BISHOP}, section 5.2", z, from_output=sp.Integer(1)),
    Formula("sigmoid", function("sigma", z), 1 / (1 + exp(-z)),
            "Squeezes any number into (0, 1): log-odds become a probability.", f"{BISHOP}, eq. 4.59", z,
            stable=Piecewise((1 / (1 + exp(-z)), z >= 0), (exp(z) / (1 + exp(z)), True)), from_output=a * (1 - a)),
    Formula("relu", function("relu", z), Piecewise((z, z > 0), (0, True)),
            "Keeps what is positive; its slope at 0 is taken as 0.", f"{GOODFELLOW}, section 6.3.1", z,
            from_output=Piecewise((1, a > 0), (0, True))),
    Formula("tanh", function("tanh", z), (exp(z) - exp(-z)) / (exp(z) + exp(-z)),
            "Squeezes any number into (-1, 1), symmetric around 0.", f"{BISHOP}, eq. 5.59", z,
            stable=sp.tanh(z), from_output=1 - a**2),
    Formula("softmax", IndexedBase("A")[r, u], exp(Z[r, u]) / total(exp(Z[r, s]), s),
            "Turns a row of scores into probabilities that add up to 1.", f"{BISHOP}, eq. 4.62", Z[r, j],
            stable=exp(Z[r, u] - largest) / total(exp(Z[r, s] - largest), s)),

    # --- the dense layer --------------------------------------------------------------------------------------
    Formula("dense", Z[r, u], total(X[r, k] * W[k, u], k) + b[u],
            "Each unit's weighted sum of the inputs plus its bias: one matrix product.", f"{BISHOP}, eq. 5.2"),
    Formula("dense_backward_x", IndexedBase("dX")[r, k], total(G[r, u] * W[k, u], u),
            "The gradient by the inputs: G times W transposed.", f"{BISHOP}, section 5.3"),
    Formula("dense_backward_W", IndexedBase("dW")[k, u], total(X[r, k] * G[r, u], r),
            "The gradient by the weights: X transposed times G.", f"{BISHOP}, eq. 5.53"),
    Formula("dense_backward_b", IndexedBase("db")[u], total(G[r, u], r),
            "The gradient by the bias: G summed over the batch.", f"{BISHOP}, eq. 5.53"),

    # --- losses, of one row -----------------------------------------------------------------------------------
    Formula("mean_squared_error", loss_of_row, mean_over_units((P[r, u] - Y[r, u]) ** 2),
            "The mean squared distance between prediction and target.", f"{BISHOP}, eq. 5.11", P[r, j]),
    Formula("mean_absolute_error", loss_of_row, mean_over_units(Abs(P[r, u] - Y[r, u])),
            "The mean distance between prediction and target; its slope at 0 is taken as 0.",
            f"{GOODFELLOW}, section 6.2.1.2", P[r, j]),
    Formula("binary_crossentropy", loss_of_row,
            -mean_over_units(Y[r, u] * log(P[r, u]) + (1 - Y[r, u]) * log(1 - P[r, u])),
            "The surprise at the label, from probabilities.", f"{BISHOP}, eq. 5.21", P[r, j]),
    Formula("binary_crossentropy_from_logits", loss_of_row,
            mean_over_units(log(1 + exp(Z[r, u])) - Y[r, u] * Z[r, u]),
            "The surprise at the label, from the logits: exact where a probability would have rounded to 0 or 1.",
            f"{BISHOP}, eq. 5.21 with 4.59", Z[r, j],
            stable=mean_over_units(Max(Z[r, u], 0) - Y[r, u] * Z[r, u] + log(1 + exp(-Abs(Z[r, u]))))),
    Formula("categorical_crossentropy", loss_of_row, -total(Y[r, u] * log(P[r, u] / total(P[r, s], s)), u),
            "The surprise at the class, from probabilities (divided by their sum first, as Keras does).",
            f"{BISHOP}, eq. 5.24", P[r, j]),
    Formula("categorical_crossentropy_from_logits", loss_of_row,
            total(Y[r, u] * (log(total(exp(Z[r, s]), s)) - Z[r, u]), u),
            "The surprise at the class, from the logits, through the logarithm of a sum of exponentials.",
            f"{BISHOP}, eq. 5.24 with 4.62", Z[r, j],
            stable=total(Y[r, u] * (largest + log(total(exp(Z[r, s] - largest), s)) - Z[r, u]), u)),

    # --- optimisers, for one entry of theta and its gradient g -------------------------------------------------
    Formula("sgd", theta_next, theta - eta * g, "One step downhill along the gradient.",
            f"{GOODFELLOW}, algorithm 8.1"),
    Formula("momentum", theta_next, theta + v_next, "A heavy ball: steps remember the earlier ones.",
            f"{GOODFELLOW}, algorithm 8.2", where=((v_next, mu * v - eta * g),)),
    Formula("nesterov", theta_next, theta + mu * v_next - eta * g,
            "Momentum that looks one step ahead.", f"{GOODFELLOW}, algorithm 8.3, in Keras's form",
            where=((v_next, mu * v - eta * g),)),
    Formula("adam", theta_next, theta - adam_step,
            "Each entry's step is scaled by the size its gradients have had; epsilon stands outside the root.",
            KINGMA, where=moments),
    Formula("adamw", theta_next, theta - eta * lambda_ * theta - adam_step,
            "Adam after the weights have shrunk a little by themselves.",
            "I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2",
            where=moments),
    Formula("velocity", v_next, mu * v - eta * g, "What momentum and Nesterov remember.",
            f"{GOODFELLOW}, algorithm 8.2"),
    Formula("first_moment", *moments[0], "What Adam remembers of the gradients.", KINGMA),
    Formula("second_moment", *moments[1], "What Adam remembers of their squares.", KINGMA),

    # --- regularisation and normalisation ---------------------------------------------------------------------
    Formula("l1", function("R_1", Symbol("w")), lambda_ * total(Abs(w[q]), q),
            "A penalty on the size of the weights that drives many of them to 0.", f"{GOODFELLOW}, eq. 7.18"),
    Formula("l1_backward", IndexedBase("dw")[q], lambda_ * sp.sign(w[q]), "The slope of the l1 penalty, 0 at 0.",
            f"{GOODFELLOW}, eq. 7.20"),
    Formula("l2", function("R_2", Symbol("w")), lambda_ * total(w[q] ** 2, q),
            "A penalty on the squares of the weights that keeps all of them small.", f"{GOODFELLOW}, section 7.1.1"),
    Formula("l2_backward", IndexedBase("dw")[q], 2 * lambda_ * w[q], "The slope of the l2 penalty.",
            f"{GOODFELLOW}, section 7.1.1"),
    Formula("dropout", function("d", x), x * kept / (1 - rate),
            "Each input is kept (B = 1) with probability 1 - p and scaled so that its mean stays.",
            "N. Srivastava et al., Dropout, JMLR 15, 2014, section 10 (inverted)", x),
    Formula("normalization", function("nu", x), (x - mean) / Max(sqrt(variance), Rational(1, 10**7)),
            "Shifts and scales each feature to mean 0 and deviation 1.",
            "Y. LeCun et al., Efficient BackProp, 1998, section 4.3; the floor under the deviation is Keras's", x),

    # --- whole numbers ----------------------------------------------------------------------------------------
    Formula("quantize", function("Q", x), Min(Max(function("round", x / step) + zero, 0), 255),
            "A number as one of 256 steps; halves are rounded to even, what lies outside becomes 0 or 255.",
            f"{JACOB}, eqs. 1 and 12"),
    Formula("dense_int8", S[r, u], total(Q[r, k] * W[k, u], k),
            "Each unit's weighted sum in whole numbers, which is exact.", f"{JACOB}, eq. 7"),
    Formula("requantize", IndexedBase("Q")[r, u],
            Min(Max(function("round", M[u] * (S[r, u] + c[u])) + zero, least), 255),
            "A sum as the next layer takes it in; a ReLU on the way makes q_0 the least, which stands for 0.",
            f"{JACOB}, eq. 4 and section 2.4"),
    Formula("dequantize", Z[r, u], steps[u] * (S[r, u] + c[u]),
            "What a sum is worth: the number of its steps, bias included, times the step.", f"{JACOB}, eq. 1"),
))
