"""Runs a Numba kernel's source one step at a time, in one thread, and sees what goes wrong."""
