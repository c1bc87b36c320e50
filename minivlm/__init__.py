"""CLIP written out in NumPy, every gradient by hand: the vision-language model you can read.

`README.md` has the reading tour. Models are imported from their files, such as
`minivlm.models.clip`; here are the names that every program needs.
"""

from minivlm.gradcheck import gradcheck
from minivlm.tensor import Tensor, no_grad
from minivlm.tracing import trace

__all__ = ["Tensor", "gradcheck", "no_grad", "trace"]
