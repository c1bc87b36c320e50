"""What the rungs ask of a machine: packages, and a GPU of some compute capability."""

FLOAT32_NEEDS = (7, 5)  # compute capability: the oldest that CUDA 13 compiles for
BF16_NEEDS = (8, 0)  # mma.sync on bf16 came with Ampere, and so did shared memory for A5's blocks
MISSING = 'kernels need {package}: pip install -e ".[kernels]" brings it, with what else they need'
