"""CUDA C++ files: how they are compiled and launched, on a GPU or on a CPU."""
