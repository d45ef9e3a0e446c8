"""The GPU's kernels on any machine's processor: a header in the place of CUDA, a compiler, and a device for them."""
