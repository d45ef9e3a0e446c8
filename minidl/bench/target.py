"""What the processor that Numba compiles for can do: its vectors, fused multiply-adds and products of int8.

LLVM's lists of features say what a processor has beyond its name, and ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` may
change both. So the compiler itself is asked: a few vectors are added and multiplied, and the machine code is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

PROBE = """
define <16 x float> @sum(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
declare <4 x float> @llvm.fma.v4f32(<4 x float>, <4 x float>, <4 x float>)
define <4 x float> @product(<4 x float> %a, <4 x float> %b, <4 x float> %c) {
  %d = call <4 x float> @llvm.fma.v4f32(<4 x float> %a, <4 x float> %b, <4 x float> %c)
  ret <4 x float> %d
}
"""


@dataclass(frozen=True)
class Target:
    """A processor as the kernels see it.

    registers: how many vectors it can hold; fused: whether a multiply-add is one instruction; int8: LLVM's name of the
    instruction that adds products of int8 to int32, or "" where there is none.
    """

    vector_bytes: int
    registers: int
    fused: bool
    int8: str


@cache
def host() -> Target:
    """The processor that Numba compiles for in this process."""
    from numba.core.registry import cpu_target

    return ask(*cpu_target.target_context.codegen().magic_tuple())


def ask(triple: str, name: str, features: str) -> Target:
    """The target of this triple, name and features, as LLVM writes them."""
    from llvmlite import binding

    machine = binding.Target.from_triple(triple).create_target_machine(cpu=name, features=features)
    code = machine.emit_assembly(binding.parse_assembly(PROBE))
    vector_bytes = 64 if "zmm" in code else 32 if "ymm" in code else 16
    registers = 32 if vector_bytes == 64 or triple.startswith(("aarch64", "arm64")) else 16
    return Target(vector_bytes, registers, "fmaf" not in code, int8_products(features.split(","), vector_bytes))


def int8_products(features: list[str], vector_bytes: int) -> str:
    """The instruction for int8. Only what is named is used: LLVM ends the process where it has to guess."""
    if vector_bytes == 64 and "+avx512vnni" in features:
        return "llvm.x86.avx512.vpdpbusd.512"
    if vector_bytes == 32 and ("+avxvnni" in features or {"+avx512vnni", "+avx512vl"} <= set(features)):
        return "llvm.x86.avx512.vpdpbusd.256"
    return "llvm.aarch64.neon.sdot.v4i32.v16i8" if "+dotprod" in features else ""
