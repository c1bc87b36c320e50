"""What `kernels/bench.py` is made of: workloads, clocks, ceilings, checks, counts and a report."""
