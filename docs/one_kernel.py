"""One small launch of a kernel, to be walked through in a debugger; neither GPU nor simulator.

Put a breakpoint into the kernel of kernels/minivlm_kernels/attention/a3_flash.py and run this: it
stops there in one thread after another. Or name a block and a thread, and pdb walks with that one:

    python docs/one_kernel.py 0 3
"""

import sys

import numpy as np

from minivlm_kernels import stepper
from minivlm_kernels.attention import a3_flash

rng = np.random.default_rng(0)
q, k, v = rng.standard_normal((3, 1, 1, 8, 4)).astype(np.float32)  # each (B, H, T, C)
chosen = [int(word) for word in sys.argv[1:]]
at = stepper.Thread(block=(0, chosen[0]), thread=chosen[1]) if chosen else None

with stepper.watch(pdb_at=at) as log:  # two blocks, along y, of four threads each
    o, lse = a3_flash.forward(q, k, v, tile=4)  # step into: the kernel, in each thread
print(log.summary())
