"""Looks behind a tensor: at what its way back returns, and at what it keeps in memory."""

import numpy as np

from minivlm.tensor import reachable


def gradients_on_the_way(y):
    """Every array that a vjp returns as the sum of y is walked back.

    A leaf's gradient always has the leaf's dtype, so only these show one that has been widened.
    """
    found = []

    def watched(vjp):
        def watch(dy):
            dxs = vjp(dy)
            found.extend(dxs if isinstance(dxs, tuple) else (dxs,))
            return dxs

        return watch

    loss = y.sum()
    for node in list(reachable(loss.node)):
        edges = node.edges or ()
        node.edges = [edge._replace(vjp=watched(edge.vjp)) for edge in edges]
    loss.backward()
    return found


def kept_arrays(y):
    """Every array that the vjps of y's own node mention: what y keeps in memory."""

    def walk(value):
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, tuple | list):
            for item in value:
                yield from walk(item)
        for cell in getattr(value, "__closure__", None) or ():
            yield from walk(cell.cell_contents)

    return [array for edge in y.node.edges for array in walk(edge.vjp)]
