"""The formulas: their derivatives are right, their stable forms equal, and they can be printed."""

import itertools

import mpmath
import numpy as np
import pytest
import sympy as sp

from minidl import oracle
from minidl.bench import operations
from minidl.contract import OPERATIONS
from minidl.formula import K, q, to_latex
from minidl.formulas import FORMULAS

RNG = np.random.default_rng(7)
VALUES = {
    "X": RNG.normal(size=(2, 3)), "W": RNG.normal(size=(3, 4)), "b": RNG.normal(size=4), "G": RNG.normal(size=(2, 4)),
    "Y": RNG.uniform(size=(2, 4)), "P": RNG.uniform(0.1, 0.9, (2, 4)), "Z": RNG.normal(size=(2, 4)),
    "w": RNG.normal(size=5), "z": RNG.normal(size=6), "x": RNG.normal(size=6), "theta": 1.5, "g": 0.5, "v": 0.25,
    "m": -0.5, "eta": 0.125, "mu": 0.875, "beta_1": 0.875, "beta_2": 0.96875, "epsilon": 2.0**-20, "lambda": 0.25,
    "t": 3, "p": 0.25, "B": 1.0, "mu_x": 0.5, "sigma_x^2": 2.25, "c_r": 0.75,
}  # fmt: skip
DIFFERENTIATED = [name for name, formula in FORMULAS.items() if formula.variable is not None]


def close(found, expected, tolerance=1e-30):
    return all(abs(a - b) <= tolerance * (1 + abs(b)) for a, b in zip(found.flat, expected.flat, strict=True))


@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_derivative_is_the_limit_of_differences(name):
    """Central differences at 60 digits with a step of 1e-20 are right to about 1e-40."""
    formula = FORMULAS[name]
    symbol = formula.variable.base if isinstance(formula.variable, sp.Indexed) else formula.variable
    at, step = oracle.exact(VALUES[str(symbol)]), mpmath.mpf("1e-20")
    derivative = formula.evaluate("derivative", digits=60, **VALUES)

    def value(shifted):
        return formula.evaluate(digits=60, **{**VALUES, str(symbol): shifted})

    with mpmath.workdps(60):
        if at.ndim < 2:
            assert close(np.broadcast_to(derivative, at.shape), (value(at + step) - value(at - step)) / (2 * step))
            return
        for r, j in itertools.product(*map(range, at.shape)):
            shift = np.zeros(at.shape, dtype=object)
            shift[r, j] = step
            slope = (value(at + shift) - value(at - shift)) / (2 * step)
            # The value of row r has one entry (a loss) or one for each unit (softmax), the derivative the same and j.
            assert close(np.atleast_1d(slope[r]), np.atleast_1d(derivative[r, ..., j]))


@pytest.mark.parametrize("name", [name for name, formula in FORMULAS.items() if formula.stable is not None])
def test_stable_form_is_the_same_function(name):
    formula = FORMULAS[name]
    assert close(formula.evaluate("stable", **VALUES), formula.evaluate(**VALUES), 1e-35)


@pytest.mark.parametrize("name", [name for name, formula in FORMULAS.items() if formula.from_output is not None])
def test_derivative_from_the_output_is_the_derivative(name):
    formula = FORMULAS[name]
    z = np.array([-3.0, -0.5, 0.25, 4.0])
    outputs = formula.evaluate(z=z)
    found, expected = formula.evaluate("from_output", a=outputs), formula.evaluate("derivative", z=z)
    assert close(np.broadcast_to(found, 4), np.broadcast_to(expected, 4), 1e-35)


@pytest.mark.parametrize("letter", ["W", "x", "b"])
def test_backward_of_dense_is_the_derivative_of_dense(letter):
    """With L = sum of G Z, dL/dZ is G, so dL/dW is what dense_backward_W must give; all sizes small and explicit."""
    X, W = sp.Matrix(2, 3, sp.symbols("x:6")), sp.Matrix(3, 2, sp.symbols("w:6"))
    G = sp.Matrix(2, 2, sp.symbols("g:4"))
    b = sp.Matrix(1, 2, sp.symbols("b:2"))
    loss = sum((X * W + sp.ones(2, 1) * b).multiply_elementwise(G))
    wanted = {"W": W, "x": X, "b": b}[letter]
    slope = wanted.applyfunc(lambda entry: sp.diff(loss, entry))
    numbers = {symbol: place * 0.5 - 1 for place, symbol in enumerate(sorted(loss.free_symbols, key=str))}

    def values(matrix):
        return np.array(matrix.subs(numbers).tolist(), dtype=float)

    found = FORMULAS[f"dense_backward_{letter}"].evaluate(X=values(X), W=values(W), G=values(G))
    np.testing.assert_allclose(found.astype(float), values(slope).reshape(found.shape), rtol=1e-15)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_backward_of_penalties_is_their_derivative(name):
    w, step = oracle.exact(VALUES["w"]), mpmath.mpf("1e-20")
    slope = FORMULAS[f"{name}_backward"].evaluate(**VALUES)
    with mpmath.workdps(60):
        for place in range(len(w)):
            shift = np.zeros(len(w), dtype=object)
            shift[place] = step
            above, below = (FORMULAS[name].evaluate(digits=60, w=w + s, **{"lambda": 0.25}) for s in (shift, -shift))
            assert abs((above - below) / (2 * step) - slope[place]) < 1e-30


def test_values_by_hand():
    """Numbers that can be checked with a pencil."""
    assert FORMULAS["sigmoid"].evaluate(z=np.array([0.0]))[0] == 0.5
    assert FORMULAS["relu"].evaluate(z=np.array([-2.0, 3.0])).tolist() == [0, 3]
    #  [1 2] [1 0]   [1 + 4  0 + 6]         [0.5]
    #        [2 3] =                plus b
    dense = FORMULAS["dense"].evaluate(X=[[1.0, 2.0]], W=[[1.0, 0.0], [2.0, 3.0]], b=[0.5, -1.0])
    assert dense.tolist() == [[5.5, 5]]
    #  ((1 - 0)^2 + (2 - 4)^2) / 2 = 2.5
    assert FORMULAS["mean_squared_error"].evaluate(P=[[1.0, 2.0]], Y=[[0.0, 4.0]]).tolist() == [2.5]
    #  v' = 0.5 * 2 - 0.25 * 4 = 0;   theta' = 1 + 0;   nesterov: 1 + 0.5 * 0 - 0.25 * 4 = 0
    numbers = {"theta": 1.0, "g": 4.0, "v": 2.0, "eta": 0.25, "mu": 0.5}
    assert FORMULAS["momentum"].evaluate(**numbers) == 1
    assert FORMULAS["nesterov"].evaluate(**numbers) == 0
    #  t = 1, beta_1 = 0, beta_2 = 0: m' = g, v' = g^2, the step is eta g / |g| = eta
    adam = FORMULAS["adam"].evaluate(
        theta=1.0, g=-4.0, m=9.0, v=9.0, t=1, eta=0.25, beta_1=0.0, beta_2=0.0, epsilon=0.0
    )
    assert adam == 1.25
    assert FORMULAS["dropout"].evaluate(x=np.array([3.0]), B=1.0, p=0.25)[0] == 4
    assert FORMULAS["normalization"].evaluate(x=7.0, mu_x=3.0, **{"sigma_x^2": 4.0}) == 2


def test_the_oracle_keeps_the_digits_of_what_is_small():
    """log(1 + x), e^x - 1 and 1 - e^-x are x to the first order, but of 40 digits of 1 + 1e-45 nothing is x."""
    x, tiny = sp.Symbol("x", real=True), np.array([1e-45, -1e-20, 2.0**-70])
    for expression in (sp.log(1 + x), sp.exp(x) - 1, 1 - sp.exp(-x)):
        assert (np.abs(oracle.evaluate(expression, {"x": tiny}, {}, 40) / tiny - 1) < 1e-15).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_prints(name):
    formula = FORMULAS[name]
    assert formula._repr_latex_().startswith("$")
    assert formula.latex.count("&=") == 1 + len(formula.where) + (formula.variable is not None)
    assert formula.meaning.endswith(".")
    assert formula.source
    assert "Float" not in sp.srepr(formula.expression)  # exact numbers only
    if formula.variable is None:
        with pytest.raises(ValueError, match="not differentiated"):
            _ = formula.derivative
    else:
        assert "Piecewise" not in str(formula.derivative) or name == "relu"


def test_latex_by_hand():
    def right(name, what="expression"):
        return FORMULAS[name].equations(what)[0][1]

    assert right("relu") == r"\begin{cases} z & \text{if}\: z > 0 \\0 & \text{otherwise} \end{cases}"
    assert right("normalization") == r"\frac{x - \mu_{x}}{\max\left(10^{-7}, \sqrt{\sigma^{2}_{x}}\right)}"
    assert right("binary_crossentropy") == (
        r"- \frac{\sum_{u=1}^{o} \left({Y}_{r,u} \ln{\left({P}_{r,u} \right)} + "
        r"\left(1 - {Y}_{r,u}\right) \ln{\left(1 - {P}_{r,u} \right)}\right)}{o}"
    )
    share = r"\frac{{P}_{r,u}}{\sum_{s=1}^{o} {P}_{r,s}}"
    assert right("categorical_crossentropy") == rf"- \sum_{{u=1}}^{{o}} {{Y}}_{{r,u}} \ln{{\left({share} \right)}}"
    assert right("sigmoid", "from_output") == r"a \left(1 - a\right)"


def test_latex_of_a_product_keeps_what_belongs_together():
    x, y, z = sp.symbols("x y z")
    a, b = (sp.Sum(sp.IndexedBase(letter)[q], (q, 1, K)) for letter in "ab")
    assert to_latex(a * x * b) == r"x \left(\sum_{q=1}^{K} {a}_{q}\right) \sum_{q=1}^{K} {b}_{q}"
    assert to_latex(sp.Mul(-1, x - y, evaluate=False)) == r"- \left(x - y\right)"
    assert to_latex(z - x * y) == "z - x y"
    assert to_latex(sp.Rational(1, 1000) * x) == r"\frac{x}{1000}"
    assert [to_latex(sp.Rational(1, 10**n)) for n in (1, 2, 7)] == [r"\frac{1}{10}", "10^{-2}", "10^{-7}"]


def test_every_operation_names_a_formula_and_every_formula_is_used():
    named = {operation.formula for operation in OPERATIONS.values()} - {""}
    assert named <= set(FORMULAS)
    remembered = {slot for slots in operations.SLOTS.values() for slot in slots}
    assert set(FORMULAS) - named == remembered == {"velocity", "first_moment", "second_moment"}


def test_an_unknown_formula_or_part_is_told_with_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'sigmoid'"):
        FORMULAS["sigmoidd"]
    assert FORMULAS.get("sigmoidd") is None
    with pytest.raises(ValueError, match="did you mean 'derivative'"):
        FORMULAS["sigmoid"].evaluate("derivativ", z=0)


def test_errors_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="must be alike"):
        oracle.ulp_error(np.zeros(3), FORMULAS["tanh"].evaluate(z=np.zeros(2)))
