"""Compiled loops of the filter bank.

All filters of a scale work on the same presmoothed image with kernels of at most five taps. So each line of
the image is filtered along the slower axes into a few line buffers, which stay in the first-level cache, and
the pass along the line is fused with what a filter makes of its derivatives. Only the features themselves go
back to memory.

A kernel is given as its half, `(k0, k1, k2)`: even ones weigh `a[-n] + a[n]`, odd ones `a[n] - a[-n]`.
Images that are read have `PAD` mirrored pixels at both ends of each line.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import njit

PAD = 3
_RING = 5  # lines (2D) or planes (3D) of structure tensor products that are kept

# rows of the array of kernels
GAUSS, SLOPE, CURVE, NARROW, INNER, INNER_SLOPE, OUTER = range(7)
# entries of the array of columns: where each filter's features start, or -1
SMOOTHING, LAPLACE, MAGNITUDE, DIFFERENCE, TENSOR, HESSE = range(6)

# A loop over many lines is vectorised only if LLVM may check that many pairs of them for overlap.
llvm.set_option("", "-runtime-memory-check-threshold=128")
_options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
_inner = _options | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # less to compile
compiled: Callable[..., Any] = njit(cache=True, **_options)
part: Callable[..., Any] = njit(**_inner)
part_of_loop: Callable[..., Any] = njit(forceinline=True, **_inner)


@part
def mirrored(index, size):  # type: ignore[no-untyped-def]
    """The pixel that stands in for `index`; the edge itself is not repeated."""
    if size == 1:
        return 0
    index = abs(index) % (2 * size - 2)
    return min(index, 2 * size - 2 - index)


@part
def _mirror_ends(row, size, pad):  # type: ignore[no-untyped-def]
    """Fills the first and last `pad` entries of a line of `size` pixels."""
    for n in range(1, pad + 1):
        row[pad - n] = row[pad + mirrored(-n, size)]
        row[pad + size - 1 + n] = row[pad + mirrored(size - 1 + n, size)]


@part
def _start(out, a, k):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] = k * a[x]


@part
def _accumulate(out, a, b, k, c, d, m):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] += k * (a[x] + b[x]) + m * (c[x] + d[x])


@part
def _smooth_along(source, i, first, kernel, out):  # type: ignore[no-untyped-def]
    """Line `i` of `(n, width)` from `first` on, smoothed along n, into `out`; kernel: half, of odd length."""
    size, last = len(source), first + out.size
    _start(out, source[i, first:last], kernel[0])
    for n in range(1, len(kernel), 2):
        _accumulate(
            out,
            source[mirrored(i - n, size), first:last],
            source[mirrored(i + n, size), first:last],
            kernel[n],
            source[mirrored(i - n - 1, size), first:last],
            source[mirrored(i + n + 1, size), first:last],
            kernel[n + 1],
        )


@compiled
def smooth_lines(source, kernel, top, left, out, first, last):  # type: ignore[no-untyped-def]
    """A window of a plane, smoothed along both axes, with mirrored pixels at the ends of its lines.

    Args:
        source: the plane `(y, x)`.
        top, left: where the window starts.
        out: `(y, PAD + x + PAD)` of the window; its lines `first` to `last` are filled.
    """
    width, reach, inner = source.shape[1], len(kernel) - 1, out.shape[1] - 2 * PAD
    buffer = np.empty(width + 2 * reach, np.float32)
    for y in range(first, last):
        # a literal 0 would be compiled for itself
        _smooth_along(source, top + y, np.int64(0), kernel, buffer[reach : reach + width])
        _mirror_ends(buffer, width, reach)
        target, start = out[y, PAD : PAD + inner], reach + left
        _start(target, buffer[start:], kernel[0])
        for n in range(1, len(kernel), 2):
            _accumulate(
                target,
                buffer[start - n :],
                buffer[start + n :],
                kernel[n],
                buffer[start - n - 1 :],
                buffer[start + n + 1 :],
                kernel[n + 1],
            )
        _mirror_ends(out[y], inner, PAD)


@compiled
def smooth_planes_along(source, kernel, front, out, first, last):  # type: ignore[no-untyped-def]
    """Planes of `(z, pixels)` smoothed along z, piece by piece for the cache.

    Args:
        front: the plane of `source` that the first of `out` stands for.
        out: its planes `first` to `last` are filled.
    """
    piece = 2048
    for start in range(0, source.shape[1], piece):
        for z in range(first, last):
            _smooth_along(source, front + z, start, kernel, out[z, start : start + piece])


@part
def _even_of_lines(out, a, b, c, d, e, k0, k1, k2):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] = k0 * c[x] + k1 * (b[x] + d[x]) + k2 * (a[x] + e[x])


@part
def _odd_of_lines(out, a, b, d, e, k1, k2):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] = k1 * (d[x] - b[x]) + k2 * (e[x] - a[x])


@part
def _even_across(out, lines, i, size, step, first, k):  # type: ignore[no-untyped-def]
    """Line `i` of `size` lines filtered across; they are every `step`-th of `lines` `(n, width)`."""
    a, b = lines[mirrored(i - 2, size) * step + first], lines[mirrored(i - 1, size) * step + first]
    d, e = lines[mirrored(i + 1, size) * step + first], lines[mirrored(i + 2, size) * step + first]
    _even_of_lines(out, a, b, lines[i * step + first], d, e, k[0], k[1], k[2])


@part
def _odd_across(out, lines, i, size, step, first, k):  # type: ignore[no-untyped-def]
    a, b = lines[mirrored(i - 2, size) * step + first], lines[mirrored(i - 1, size) * step + first]
    d, e = lines[mirrored(i + 1, size) * step + first], lines[mirrored(i + 2, size) * step + first]
    _odd_of_lines(out, a, b, d, e, k[1], k[2])


@part_of_loop
def _even(row, x, k):  # type: ignore[no-untyped-def]
    return k[0] * row[x] + k[1] * (row[x - 1] + row[x + 1]) + k[2] * (row[x - 2] + row[x + 2])


@part_of_loop
def _odd(row, x, k):  # type: ignore[no-untyped-def]
    return k[1] * (row[x + 1] - row[x - 1]) + k[2] * (row[x + 2] - row[x - 2])


@part
def _line_smooth(out, g, even):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] = _even(g, x + PAD, even)


@part
def _line_difference(out, wide, narrow, even, even_narrow):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] = _even(wide, x + PAD, even) - _even(narrow, x + PAD, even_narrow)


@part
def _line_magnitude_2d(out, g, d, even, odd):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        dx, dy = _odd(g, x + PAD, odd), _even(d, x + PAD, even)
        out[x] = np.sqrt(dx * dx + dy * dy)


@part
def _line_laplace_2d(out, g, h, even, curve):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] = _even(g, x + PAD, curve) + _even(h, x + PAD, even)


@part_of_loop
def _eigenvalues_2d(xx, yy, xy):  # type: ignore[no-untyped-def]
    """Eigenvalues of a symmetric matrix, descending."""
    middle, half = np.float32(0.5) * (xx + yy), np.float32(0.5) * (xx - yy)
    root = np.sqrt(half * half + xy * xy)
    return middle + root, middle - root


@part
def _line_hesse_2d(largest, smallest, g, d, h, even, odd, curve):  # type: ignore[no-untyped-def]
    for x in range(largest.size):
        xx, yy = _even(g, x + PAD, curve), _even(h, x + PAD, even)
        xy = _odd(d, x + PAD, odd)
        largest[x], smallest[x] = _eigenvalues_2d(xx, yy, xy)


@part
def _line_products_2d(xx, xy, yy, g, d, even, odd):  # type: ignore[no-untyped-def]
    for x in range(g.size - 2 * PAD):
        dx, dy = _odd(g, x + PAD, odd), _even(d, x + PAD, even)
        xx[x + PAD] = dx * dx
        xy[x + PAD] = dx * dy
        yy[x + PAD] = dy * dy


@part
def _line_tensor_2d(largest, smallest, sxx, sxy, syy, even):  # type: ignore[no-untyped-def]
    for x in range(largest.size):
        xx, yy = _even(sxx, x + PAD, even), _even(syy, x + PAD, even)
        xy = _even(sxy, x + PAD, even)
        largest[x], smallest[x] = _eigenvalues_2d(xx, yy, xy)


@compiled
def filter_lines_2d(image, kernels, columns, out, first, last):  # type: ignore[no-untyped-def]
    """All filters of one scale for lines `first` to `last`.

    Args:
        image: presmoothed, float32 `(y, PAD + x + PAD)`.
        kernels: float32 `(7, 3)`, half kernels.
        columns: int `(6,)`, where the features of each filter start in `out`, or -1 for none.
        out: float32 `(F, y, x)`.
    """
    ny, width = image.shape
    nx = width - 2 * PAD
    even, odd, curve = kernels[GAUSS], kernels[SLOPE], kernels[CURVE]
    g, d, h = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    products = np.empty((3, _RING, width), np.float32)
    done = max(first - 2, 0)  # lines of products there are
    for y in range(first, last):
        if columns[TENSOR] >= 0:
            for line_ in range(done, min(y + 3, ny)):
                _even_across(g, image, line_, ny, 1, 0, kernels[INNER])
                _odd_across(d, image, line_, ny, 1, 0, kernels[INNER_SLOPE])
                xx, xy, yy = (
                    products[0, line_ % _RING],
                    products[1, line_ % _RING],
                    products[2, line_ % _RING],
                )
                _line_products_2d(xx, xy, yy, g, d, kernels[INNER], kernels[INNER_SLOPE])
                _mirror_ends(xx, nx, PAD)
                _mirror_ends(xy, nx, PAD)
                _mirror_ends(yy, nx, PAD)
            done = max(done, min(y + 3, ny))
            a, b = mirrored(y - 2, ny) % _RING, mirrored(y - 1, ny) % _RING
            c, e, f = y % _RING, mirrored(y + 1, ny) % _RING, mirrored(y + 2, ny) % _RING
            k = kernels[OUTER]
            for n, target in enumerate((g, d, h)):
                p = products[n]
                _even_of_lines(target, p[a], p[b], p[c], p[e], p[f], k[0], k[1], k[2])
            n = columns[TENSOR]
            _line_tensor_2d(out[n, y], out[n + 1, y], g, d, h, kernels[OUTER])
        _even_across(g, image, y, ny, 1, 0, kernels[GAUSS])
        if columns[SMOOTHING] >= 0:
            _line_smooth(out[columns[SMOOTHING], y], g, even)
        if columns[DIFFERENCE] >= 0:
            _even_across(d, image, y, ny, 1, 0, kernels[NARROW])
            _line_difference(out[columns[DIFFERENCE], y], g, d, even, kernels[NARROW])
        if columns[LAPLACE] < 0 and columns[MAGNITUDE] < 0 and columns[HESSE] < 0:
            continue
        _odd_across(d, image, y, ny, 1, 0, kernels[SLOPE])
        _even_across(h, image, y, ny, 1, 0, kernels[CURVE])
        if columns[LAPLACE] >= 0:
            _line_laplace_2d(out[columns[LAPLACE], y], g, h, even, curve)
        if columns[MAGNITUDE] >= 0:
            _line_magnitude_2d(out[columns[MAGNITUDE], y], g, d, even, odd)
        if columns[HESSE] >= 0:
            n = columns[HESSE]
            _line_hesse_2d(out[n, y], out[n + 1, y], g, d, h, even, odd, curve)


_THIRD_ANGLE = tuple(
    np.float32(c)
    for c in (
        0.500000026,
        0.577346917,
        -0.111038511,
        0.052841409,
        -0.030235398,
        0.016047280,
        -0.006089346,
        0.001127636,
    )
)


@part_of_loop
def _third_angle(t):  # type: ignore[no-untyped-def]
    """cos(2 / 3 acos(t)) for t in [0, 1], to 2e-7 (Chebyshev interpolation of degree 7)."""
    c = _THIRD_ANGLE
    return c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * (c[5] + t * (c[6] + t * c[7]))))))


@part_of_loop
def _eigenvalues_3d(xx, yy, zz, xy, xz, yz):  # type: ignore[no-untyped-def]
    """Eigenvalues of a symmetric matrix, descending (trigonometric solution; O. K. Smith, CACM 4, 1961).

    With t the root of (1 + r) / 2, cos(acos(r) / 3) is a polynomial of t: the loop around it is vectorised.
    Up to r in float64: where two eigenvalues are nearly equal, r is near 1 or -1, and the rest counts.
    """
    p, q, s = np.float64(xx), np.float64(yy), np.float64(zz)
    u, v, w = np.float64(xy), np.float64(xz), np.float64(yz)
    mean = (p + q + s) / 3.0
    a, b, c = p - mean, q - mean, s - mean
    spread = np.sqrt((a * a + b * b + c * c + 2.0 * (u * u + v * v + w * w)) / 6.0)
    det = a * (b * c - w * w) - u * (u * c - w * v) + v * (u * w - b * v)
    cube = spread * spread * spread
    r = 0.5 * det / cube if cube > 1e-30 else 1.0
    r = min(max(r, -1.0), 1.0)
    largest = mean + 2.0 * spread * _third_angle(np.sqrt(np.float32(0.5 + 0.5 * r)))
    smallest = mean - 2.0 * spread * _third_angle(np.sqrt(np.float32(0.5 - 0.5 * r)))
    return np.float32(largest), np.float32(3.0 * mean - largest - smallest), np.float32(smallest)


@part
def _line_magnitude_3d(out, gg, gd, dg, even, odd):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        dx, dy, dz = _odd(gg, x + PAD, odd), _even(gd, x + PAD, even), _even(dg, x + PAD, even)
        out[x] = np.sqrt(dx * dx + dy * dy + dz * dz)


@part
def _line_laplace_3d(out, gg, gh, hg, even, curve):  # type: ignore[no-untyped-def]
    for x in range(out.size):
        out[x] = _even(gg, x + PAD, curve) + _even(gh, x + PAD, even) + _even(hg, x + PAD, even)


@part
def _line_hesse_3d(largest, middle, smallest, gg, gd, gh, dg, dd, hg, even, odd, curve):  # type: ignore[no-untyped-def]
    for x in range(largest.size):
        xx, yy, zz = _even(gg, x + PAD, curve), _even(gh, x + PAD, even), _even(hg, x + PAD, even)
        xy, xz, yz = _odd(gd, x + PAD, odd), _odd(dg, x + PAD, odd), _even(dd, x + PAD, even)
        largest[x], middle[x], smallest[x] = _eigenvalues_3d(xx, yy, zz, xy, xz, yz)


@part
def _line_products_3d(xx, yy, zz, xy, xz, yz, gg, gd, dg, even, odd):  # type: ignore[no-untyped-def]
    for x in range(gg.size - 2 * PAD):
        dx, dy, dz = _odd(gg, x + PAD, odd), _even(gd, x + PAD, even), _even(dg, x + PAD, even)
        xx[x + PAD], yy[x + PAD], zz[x + PAD] = dx * dx, dy * dy, dz * dz
        xy[x + PAD], xz[x + PAD], yz[x + PAD] = dx * dy, dx * dz, dy * dz


@part
def _line_tensor_3d(largest, middle, smallest, sxx, syy, szz, sxy, sxz, syz, even):  # type: ignore[no-untyped-def]
    for x in range(largest.size):
        xx, yy, zz = _even(sxx, x + PAD, even), _even(syy, x + PAD, even), _even(szz, x + PAD, even)
        xy, xz, yz = _even(sxy, x + PAD, even), _even(sxz, x + PAD, even), _even(syz, x + PAD, even)
        largest[x], middle[x], smallest[x] = _eigenvalues_3d(xx, yy, zz, xy, xz, yz)


@part
def _plane_of_products(image, z, span, kernels, lines, across, products, ring):  # type: ignore[no-untyped-def]
    """Products of the gradient in some lines of plane z, into place `ring` of `products`.

    Args:
        span: first and last line.
        products: float32 `(6, planes, lines, width)`.
    """
    nz, ny, width = image.shape
    rows = image.reshape(nz * ny, width)
    low, high = max(span[0] - 2, 0), min(span[1] + 2, ny)
    for y in range(low, high):
        _even_across(lines[0, y - low], rows, z, nz, ny, y, kernels[INNER])
        _odd_across(lines[1, y - low], rows, z, nz, ny, y, kernels[INNER_SLOPE])
    for y in range(span[0], span[1]):
        gg, gd, dg = across[0], across[1], across[2]
        _even_across_part(gg, lines[0], y, ny, low, kernels[INNER])
        _odd_across_part(gd, lines[0], y, ny, low, kernels[INNER_SLOPE])
        _even_across_part(dg, lines[1], y, ny, low, kernels[INNER])
        i = y - span[0]
        p, q, r = products[0, ring, i], products[1, ring, i], products[2, ring, i]
        s, t, u = products[3, ring, i], products[4, ring, i], products[5, ring, i]
        _line_products_3d(p, q, r, s, t, u, gg, gd, dg, kernels[INNER], kernels[INNER_SLOPE])
        for n in range(6):
            _mirror_ends(products[n, ring, i], width - 2 * PAD, PAD)


@part
def _even_across_part(out, lines, y, ny, low, k):  # type: ignore[no-untyped-def]
    """As `_even_across` for line y of a plane of which `lines` holds the lines from `low` on."""
    a, b, d, e = _neighbours(lines, y, ny, low, k)
    _even_of_lines(out, a, b, lines[y - low], d, e, k[0], k[1], k[2])


@part
def _odd_across_part(out, lines, y, ny, low, k):  # type: ignore[no-untyped-def]
    a, b, d, e = _neighbours(lines, y, ny, low, k)
    _odd_of_lines(out, a, b, d, e, k[1], k[2])


@part
def _neighbours(lines, y, ny, low, k):  # type: ignore[no-untyped-def]
    narrow = k[2] == 0  # then the outer lines are not needed, and may not be there
    a = lines[(y if narrow else mirrored(y - 2, ny)) - low]
    b, d = lines[mirrored(y - 1, ny) - low], lines[mirrored(y + 1, ny) - low]
    e = lines[(y if narrow else mirrored(y + 2, ny)) - low]
    return a, b, d, e


@compiled
def filter_lines_3d(image, kernels, columns, out, first, last):  # type: ignore[no-untyped-def]
    """All filters of one scale but the structure tensor, for lines `first` to `last` of every plane.

    Args:
        image: presmoothed, float32 `(z, y, PAD + x + PAD)`.
        kernels: float32 `(7, 3)`, half kernels.
        columns: int `(6,)`, where the features of each filter start in `out`, or -1 for none.
        out: float32 `(F, z, y, x)`.
    """
    nz, ny, width = image.shape
    rows = image.reshape(nz * ny, width)
    low, high = max(first - 2, 0), min(last + 2, ny)
    even, odd, curve = kernels[GAUSS], kernels[SLOPE], kernels[CURVE]
    planes = np.empty((3, high - low, width), np.float32)
    lines = np.empty((6, width), np.float32)
    derivatives = columns[LAPLACE] >= 0 or columns[MAGNITUDE] >= 0 or columns[HESSE] >= 0
    for z in range(nz):
        for y in range(low, high):
            _even_across(planes[0, y - low], rows, z, nz, ny, y, kernels[GAUSS])
            if derivatives:
                _odd_across(planes[1, y - low], rows, z, nz, ny, y, kernels[SLOPE])
                _even_across(planes[2, y - low], rows, z, nz, ny, y, kernels[CURVE])
        gg, gd, gh, dg, dd, hg = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
        for y in range(first, last):
            _even_across_part(gg, planes[0], y, ny, low, kernels[GAUSS])
            if columns[SMOOTHING] >= 0:
                _line_smooth(out[columns[SMOOTHING], z, y], gg, even)
            if derivatives:
                _odd_across_part(gd, planes[0], y, ny, low, kernels[SLOPE])
                _even_across_part(gh, planes[0], y, ny, low, kernels[CURVE])
                _even_across_part(dg, planes[1], y, ny, low, kernels[GAUSS])
                _even_across_part(hg, planes[2], y, ny, low, kernels[GAUSS])
            if columns[LAPLACE] >= 0:
                _line_laplace_3d(out[columns[LAPLACE], z, y], gg, gh, hg, even, curve)
            if columns[MAGNITUDE] >= 0:
                _line_magnitude_3d(out[columns[MAGNITUDE], z, y], gg, gd, dg, even, odd)
            if columns[HESSE] >= 0:
                _odd_across_part(dd, planes[1], y, ny, low, kernels[SLOPE])
                n = columns[HESSE]
                _line_hesse_3d(
                    out[n, z, y], out[n + 1, z, y], out[n + 2, z, y],
                    gg, gd, gh, dg, dd, hg, even, odd, curve,
                )  # fmt: skip
        if columns[DIFFERENCE] >= 0:
            for y in range(low, high):
                _even_across(planes[1, y - low], rows, z, nz, ny, y, kernels[NARROW])
            for y in range(first, last):
                _even_across_part(gg, planes[0], y, ny, low, kernels[GAUSS])
                _even_across_part(gd, planes[1], y, ny, low, kernels[NARROW])
                _line_difference(out[columns[DIFFERENCE], z, y], gg, gd, even, kernels[NARROW])


@compiled
def tensor_lines_3d(image, kernels, columns, out, first, last):  # type: ignore[no-untyped-def]
    """The structure tensor's eigenvalues; arguments as of `filter_lines_3d`.

    A kernel of its own, as compiling takes as long as that of all other filters.
    """
    nz, ny, width = image.shape
    low, high = max(first - 2, 0), min(last + 2, ny)
    planes = np.empty((2, high - low + 4, width), np.float32)
    lines = np.empty((6, width), np.float32)
    products = np.empty((6, _RING, high - low, width), np.float32)
    summed = np.empty((6, high - low, width), np.float32)
    k = kernels[OUTER]
    done = 0  # planes of products there are
    for z in range(nz):
        for plane in range(done, min(z + 3, nz)):
            _plane_of_products(image, plane, (low, high), kernels, planes, lines, products, plane % _RING)
        done = max(done, min(z + 3, nz))
        a, b = mirrored(z - 2, nz) % _RING, mirrored(z - 1, nz) % _RING
        c, d, e = z % _RING, mirrored(z + 1, nz) % _RING, mirrored(z + 2, nz) % _RING
        for n in range(6):
            p = products[n]
            for y in range(high - low):
                _even_of_lines(summed[n, y], p[a, y], p[b, y], p[c, y], p[d, y], p[e, y], k[0], k[1], k[2])
        for y in range(first, last):
            for n in range(6):
                _even_across_part(lines[n], summed[n], y, ny, low, kernels[OUTER])
            n = columns[TENSOR]
            _line_tensor_3d(
                out[n, z, y], out[n + 1, z, y], out[n + 2, z, y],
                lines[0], lines[1], lines[2], lines[3], lines[4], lines[5], k,
            )  # fmt: skip
