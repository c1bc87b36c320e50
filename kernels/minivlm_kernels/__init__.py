"""CUDA kernels for minivlm's attention and contrastive loss, which run without a GPU too."""
