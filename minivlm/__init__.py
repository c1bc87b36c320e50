"""CLIP and LLaVA written out in NumPy, every gradient by hand."""
