"""The engine for NVIDIA GPUs: the reference engine's operations in CuPy, and beside them kernels of its own."""
