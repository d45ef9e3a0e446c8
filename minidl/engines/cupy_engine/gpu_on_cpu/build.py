"""Compiles kernels.cu with the host's g++ into a library, which is kept for as long as its text is the same."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from minidl.engines.cupy_engine import kernels

HEADERS = [Path(__file__).with_name(name) for name in ("cuda_on_cpu.h", "cublaslt_on_cpu.h")]
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC")
SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def why_not() -> str:
    """Why nothing can be compiled here; the empty string where it can."""
    here = platform.system(), platform.machine()
    if here not in (("Linux", "x86_64"), ("Linux", "aarch64")):
        return f"they are known to run on Linux with x86-64 or 64-bit ARM, and this is {here[0]} with {here[1]}"
    return "" if shutil.which("g++") else "there is no g++ here; on Debian or Ubuntu: apt install g++"


def sanitizer() -> str:
    """The path of the address sanitizer's library, which a process has to load first; empty where there is none."""
    asked = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    path = asked.stdout.strip()
    return path if os.path.isabs(path) else ""  # what it does not find, g++ gives back as it is


def text_of(source: str, chosen: Iterable[kernels.Kernel]) -> str:
    """The C++ text of a library with these kernels. (A template that nobody asks for is not compiled.)"""
    known = "".join(f'    known("{kernel.name}", {kernel.name}),\n' for kernel in chosen)
    return (
        "".join(f'#include "{header}"\n' for header in HEADERS) + f"{source}\n"
        f"namespace cuda_on_cpu {{\nstd::vector<Kernel> kernels = {{\n{known}}};\n}}\n"
        'extern "C" int cuda_on_cpu_struct(const char* name) {\n'
        + "".join(f'    if (!std::strcmp(name, "{name}")) return sizeof({name});\n' for name in kernels.STRUCTS)
        + "    return -1;\n}\n"
    )


def library(
    chosen: Iterable[kernels.Kernel] = kernels.ALL, *, source: str | None = None, sanitized: bool = False
) -> Path:
    """The path of the compiled library; RuntimeError where there is no g++, or where it refuses."""
    if why_not():
        raise RuntimeError(f"the kernels cannot be compiled for the CPU: {why_not()}")
    text = text_of(kernels.source() if source is None else source, chosen)
    flags = FLAGS + (SANITIZERS if sanitized else ())
    version = subprocess.run(["g++", "-dumpfullversion", "-dumpmachine"], capture_output=True, text=True, check=True)
    headers = [header.read_text() for header in HEADERS]
    key = hashlib.sha256("\0".join([text, *headers, *flags, version.stdout]).encode()).hexdigest()
    path = folder() / f"{key}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
            made = Path(temporary) / "kernels.so"
            command = ["g++", *flags, "-x", "c++", "-", "-o", str(made)]
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"g++ does not compile the kernels:\n{done.stderr[:4000]}")
            os.replace(made, path)
    return path


@functools.cache
def folder() -> Path:
    """Where libraries are kept: among the user's caches, or for this process alone where those cannot be written to."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl" / "gpu_on_cpu"
    with contextlib.suppress(OSError):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path if os.access(path, os.W_OK) else Path(tempfile.mkdtemp(prefix="minidl-"))
