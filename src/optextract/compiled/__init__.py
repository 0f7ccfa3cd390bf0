"""Loops over columns that numba compiles: plain arrays in, plain arrays filled, nothing else.

Everything that is done in each of a thousand columns with a matrix of three by three stands here, because numpy needs a
dozen passes over the image for what one loop does at once. The modules above call these functions through theirs
(`solve`, `profiles`, `trace`, `reject`, ...), which say what is meant and check what comes in; arrays that come here
are C-contiguous, of float64 or bool, column-major: the first axis is the dispersion column, the last one the
cross-dispersion pixel.
"""

from ._jit import contiguous

__all__ = ["contiguous"]
