"""The engine for NVIDIA GPUs: the reference engine's operations in CuPy, on arrays that stay on the GPU."""
