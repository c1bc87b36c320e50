"""Named differentiable functions: Tensor in, Tensor out, no parameters of their own."""
