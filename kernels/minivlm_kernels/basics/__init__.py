"""First steps, B1 to B4: a thread an element, shared memory, and a softmax's sum tile by tile."""
