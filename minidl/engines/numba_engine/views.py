"""Matrices and vectors that are views into one flat buffer, made without counting references.

Each of Numba's own slices counts references to its buffer, atomically, when it is made and when it is dropped; in a
network of ten units that takes longer than the arithmetic. The buffers here outlive their views: they are arguments
of the compiled call that makes them. Where even the number of arguments counts, ``vector_at`` and ``matrix_at`` find
an array by its address; whoever gives the address keeps the array.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


def array_at(context, builder, kind, pointer, shape):
    """An array of this kind and shape whose first entry is what the pointer points at."""
    size = context.get_abi_sizeof(context.get_value_type(kind.dtype))
    steps = [context.get_constant(types.intp, size)]
    for length in reversed(shape[1:]):
        steps.insert(0, builder.mul(steps[0], length))
    view = context.make_array(kind)(context, builder)
    populate_array(
        view, pointer, cgutils.pack_array(builder, shape), cgutils.pack_array(builder, steps),
        context.get_constant(types.intp, size), None,
    )  # fmt: skip
    return view._getvalue()


def make_view(context, builder, kind, buffer_type, buffer, start, shape):
    """An array of this kind and shape whose first entry is the buffer's entry ``start``."""
    data = context.make_array(buffer_type)(context, builder, buffer).data
    return array_at(context, builder, kind, builder.gep(data, [start]), shape)


@intrinsic
def flat(typing_context, array):
    """All numbers of the array one behind the other. (``reshape`` would first find out whether they are.)"""
    if array.layout != "C":
        raise TypingError("arrays have to be C-contiguous")
    kind = types.Array(array.dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        size = context.make_array(array)(context, builder, arguments[0]).nitems
        return make_view(context, builder, kind, array, arguments[0], context.get_constant(types.intp, 0), [size])

    return kind(array), emit


@intrinsic
def matrix(typing_context, buffer, start, rows, columns):
    """buffer[start : start + rows * columns] as (rows, columns)."""
    kind, size = types.Array(buffer.dtype, 2, "C"), types.intp

    def emit(context, builder, signature, arguments):
        array, begin, *shape = arguments
        return make_view(context, builder, kind, signature.args[0], array, begin, shape)

    return kind(buffer, size, size, size), emit


@intrinsic
def vector(typing_context, buffer, start, length):
    """buffer[start : start + length]."""
    kind, size = types.Array(buffer.dtype, 1, "C"), types.intp

    def emit(context, builder, signature, arguments):
        array, begin, entries = arguments
        return make_view(context, builder, kind, signature.args[0], array, begin, [entries])

    return kind(buffer, size, size), emit


@intrinsic
def address(typing_context, buffer, start):
    """Where the buffer's entry ``start`` lies. Whoever takes it sees to it that the buffer is kept meanwhile."""

    def emit(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(builder.gep(data, [arguments[1]]), context.get_value_type(types.intp))

    return types.intp(buffer, types.intp), emit


@intrinsic
def keep(typing_context, *arrays):
    """Does nothing: arrays that are named here are not let go of before."""

    def emit(context, builder, signature, arguments):
        return context.get_dummy_value()

    return types.none(types.StarArgTuple(arrays)), emit


@intrinsic
def allocate(typing_context, size):
    """The address of so many bytes of Numba's memory, until it is given to ``release``."""

    def emit(context, builder, signature, arguments):
        byte, word = ir.IntType(8).as_pointer(), context.get_value_type(types.intp)
        taken = cgutils.get_or_insert_function(builder.module, ir.FunctionType(byte, [word]), "NRT_Allocate")
        return builder.ptrtoint(builder.call(taken, arguments), word)

    return types.intp(types.intp), emit


@intrinsic
def release(typing_context, place):
    """Give back what ``allocate`` gave."""

    def emit(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        freed = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [byte]), "NRT_Free")
        builder.call(freed, [builder.inttoptr(arguments[0], byte)])
        return context.get_dummy_value()

    return types.none(types.intp), emit


def array_of(kind, dimensions):
    """The type of an array of what a NumPy type or an array's dtype stands for."""
    return types.Array(kind.dtype if isinstance(kind, types.DType) else kind.instance_type, dimensions, "C")


@intrinsic
def matrix_at(typing_context, kind, address, rows, columns):
    """The (rows, columns) numbers of this kind that begin at the address."""
    view, size = array_of(kind, 2), types.intp

    def emit(context, builder, signature, arguments):
        _, address, *shape = arguments
        pointer = builder.inttoptr(address, context.get_value_type(view.dtype).as_pointer())
        return array_at(context, builder, view, pointer, shape)

    return view(kind, size, size, size), emit


@intrinsic
def vector_at(typing_context, kind, address, length):
    """The numbers of this kind that begin at the address."""
    view, size = array_of(kind, 1), types.intp

    def emit(context, builder, signature, arguments):
        _, address, entries = arguments
        pointer = builder.inttoptr(address, context.get_value_type(view.dtype).as_pointer())
        return array_at(context, builder, view, pointer, [entries])

    return view(kind, size, size), emit
