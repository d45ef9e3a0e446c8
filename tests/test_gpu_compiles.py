"""Every kernel compiles for the GPUs that it is meant for, within its budget of registers and without spills.

By NVRTC, which the extra ``test-gpu`` brings and which needs no GPU, or by nvcc where that is what there is.
"""

import importlib.util
import re
import shutil
import subprocess

import pytest

from minidl.engines.cupy_engine import kernels

ARCHITECTURES = ("80", "90a", "100")  # A100; H100 and H200; B200


def has_nvrtc():
    """Whether CuPy is here, and NVRTC for it to call."""
    if importlib.util.find_spec("cupy") is None:
        return False
    from cupy.cuda import nvrtc

    try:
        return nvrtc.getVersion() >= (13, 0)
    except Exception:  # CuPy finds no library to load
        return False


def by_nvrtc(architecture):
    """What ptxas says, and the name in C++ of each kernel by its name in the binary."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(kernels.source(), "kernels.cu", (), ())
    for kernel in kernels.ALL:
        nvrtc.addNameExpression(program, kernel.name)
    as_cupy_does = "-ftz=true", "--device-as-default-execution-space"
    options = ("-std=c++17", *as_cupy_does, f"-arch=sm_{architecture}", "--ptxas-options=-v")
    try:
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError:
            pytest.fail(nvrtc.getProgramLog(program))
        log = nvrtc.getProgramLog(program)
        return log, {nvrtc.getLoweredName(program, kernel.name): kernel for kernel in kernels.ALL}
    finally:
        nvrtc.destroyProgram(program)


def by_nvcc(architecture, folder):
    """The same; nvcc compiles the templates that something points to."""
    pointers = "".join(f"(void*){kernel.name},\n" for kernel in kernels.ALL)
    path = folder / "kernels.cu"
    path.write_text(f"{kernels.source()}\nvoid* every_kernel[] = {{{pointers}}};\n")
    target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    command = ["nvcc", "-std=c++17", target, "-cubin", "-Xptxas", "-v", "-o", str(folder / "kernels.cubin"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = re.findall(r"Compiling entry function '(\w+)'", done.stderr)
    return done.stderr, {name: next(kernel for kernel in kernels.ALL if is_of(name, kernel)) for name in names}


def is_of(mangled, kernel):
    """Whether this is the kernel's name in the binary: _Z7forwardILi0ELi32EEv... for forward<0, 32>."""
    name, *arguments = re.findall(r"\w+", kernel.name)
    wanted = f"_Z{len(name)}{name}" + (f"I{''.join(f'Li{number}E' for number in arguments)}E" if arguments else "")
    return mangled.startswith(wanted)


FOUND = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers",
    re.DOTALL,
)


def resources(log, names):
    """Of each kernel: its registers, and the bytes of its stack that spilled registers take."""
    return {
        names[name]: (int(registers), int(stores) + int(loads))
        for name, _, stores, loads, registers in FOUND.findall(log)
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles_within_its_budget(architecture, tmp_path):
    if has_nvrtc():
        log, names = by_nvrtc(architecture)
    elif shutil.which("nvcc"):
        log, names = by_nvcc(architecture, tmp_path)
    else:
        pytest.skip('there is no NVRTC and no nvcc; pip install "minidl[test-gpu]" brings NVRTC')
    found = resources(log, names)
    assert set(found) == set(kernels.ALL)
    for kernel, (registers, spilled) in found.items():
        print(f"sm_{architecture} {kernel.name}: {registers} registers")
        assert spilled == 0, f"{kernel.name} spills {spilled} bytes"
        assert registers <= budget(kernel), f"{kernel.name} takes {registers} registers"


def budget(kernel):
    """Registers that a thread may take of the 65,536 of a multiprocessor."""
    for names, most in (
        (r"\w+<\d, 128>|train_steps.*", 255),  # one block on a multiprocessor
        (r"\w+<\d, 64>", 168),  # three
        (r"\w+<\d, 32>|head|last_layer", 128),  # four
    ):
        if re.fullmatch(names, kernel.name):
            return most
    return 64  # four, of 256 threads
