/* direction_frames: rows 0 and 1 of Y(tilt) Z(rot) P for the children of HEALPix pixels.
 *
 * Child c of coarse direction d is frame n = d * 4^oversampling + c: the nested pixel of order
 * order + oversampling inside pixels[d], y outermost and x innermost in the coordinates of its face.
 * frames[n] = (rows 0 and 1 of Y(tilt) Z(rot)) turned by the rows of turn (P, 3 x 3).
 * Rings and longitudes are integers up to the last step, so that little is lost in float32.
 * Specification E 1.2, 4.1, 4.2, 4.5.
 *
 * pixels int [n_dir], turn real [9], read; frames real [n_dir * 4^oversampling][6], write
 * Local memory: none. Order of sums: as written.
 * Reference: tests/reference/direction_frames.py
 */
<%include file="/common/types.cl.mako"/>

/* Every second bit of v. */
static inline int even_bits(const int v)
{
    int x = v & 0x55555555;
    x = (x | x >> 1) & 0x33333333;
    x = (x | x >> 2) & 0x0f0f0f0f;
    x = (x | x >> 4) & 0x00ff00ff;
    return (x | x >> 8) & 0x0000ffff;
}

/* a/b and sqrt(x) to the last bit or nearly so: devices may be off by three of them */
static inline real ratio(const real a, const real b)
{
    const real q = a / b;
    return q + fma(-q, b, a) / b;
}

static inline real root(const real x)
{
    const real s = sqrt(x);
    return s > (real)0 ? s + (real)0.5 * fma(-s, s, x) / s : (real)0;
}

__kernel void direction_frames(
    __global const int* restrict pixels, const int order, const int oversampling, const int n_dir,
    __global const real* restrict turn, __global real* restrict frames)
{
    const int n = get_global_id(0);
    if (n >> 2 * oversampling >= n_dir) return;
    const int child = n & ((1 << 2 * oversampling) - 1);
    const int pixel = pixels[n >> 2 * oversampling];
    const int face = pixel >> 2 * order, inside = pixel & ((1 << 2 * order) - 1);
    const int x = (even_bits(inside) << oversampling) + (child & ((1 << oversampling) - 1));
    const int y = (even_bits(inside >> 1) << oversampling) + (child >> oversampling);
    const int side = 1 << (order + oversampling);
    /* ring from the north pole, and its distance in rings from the nearer pole */
    const int ring = (2 + face / 4) * side - x - y - 1;
    const int from_pole = min(min(ring, 4 * side - ring), side);
    /* the last rows of the faces: 1, 3, 5, 7 in the north and south, 0, 2, 4, 6 on the equator */
    const int column = 2 * (face % 4) + (face / 4 == 1 ? 0 : 1);
    const int shifted = ring < side || ring > 3 * side ? 0 : (ring - side) & 1;
    const int place = (column * from_pole + x - y + 1 + shifted) / 2;
    real cos_tilt, sin_tilt;
    if (ring >= side && ring <= 3 * side) {
        cos_tilt = ratio((real)(2 * (2 * side - ring)), (real)(3 * side));
        sin_tilt = root(((real)1 - cos_tilt) * ((real)1 + cos_tilt));
    } else {
        const real fraction = (real)from_pole / (real)side; /* a power of two */
        const real height = ratio(fraction * fraction, (real)3); /* 1 - |cos tilt| */
        cos_tilt = ring < side ? (real)1 - height : height - (real)1;
        sin_tilt = root(height * ((real)2 - height));
    }
    /* rot: whole quarter turns, and what is left of at most an eighth of a turn either way */
    const int eighths = 2 * place - shifted - 1;
    const int quarters = (eighths + from_pole) / (2 * from_pole);
    const real half_turns = ratio((real)(eighths - 2 * from_pole * quarters), (real)(4 * from_pole));
    const real c0 = cospi(half_turns), s0 = sinpi(half_turns);
    const real c1 = quarters & 1 ? -s0 : c0, s1 = quarters & 1 ? c0 : s0;
    const real c = quarters & 2 ? -c1 : c1, s = quarters & 2 ? -s1 : s1;
    __global real* out = frames + 6L * n;
    for (int k = 0; k < 3; k++) {
        out[k] = cos_tilt * (c * turn[k] + s * turn[3 + k]) - sin_tilt * turn[6 + k];
        out[3 + k] = c * turn[3 + k] - s * turn[k];
    }
}
