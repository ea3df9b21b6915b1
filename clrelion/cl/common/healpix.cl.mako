<%doc>
Centres of HEALPix pixels in the nested scheme. Rings and longitudes are integers up to the last
step, so that little is lost in float32. Device functions only.

    healpix_place(order, face, x, y)     ring and longitude, as integers
    healpix_centre(place)                (cos tilt, sin tilt, cos rot, sin rot)

Template parameters: real, double_precision. Specification E 4.1.
Reference: tests/reference/direction_frames.py. Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_HEALPIX
#define CLRELION_HEALPIX
/* rot = pi/2 (quarters + eighths / (2 from_pole)), |eighths| <= from_pole / 2 or so: at most an
 * eighth of a turn either way; ring from the north pole, from_pole rings from the nearer one */
typedef struct {
    int side, ring, from_pole, quarters, eighths;
} healpix_ring;

/* Every second bit of v. */
static inline int even_bits(const int v)
{
    int x = v & 0x55555555;
    x = (x | x >> 1) & 0x33333333;
    x = (x | x >> 2) & 0x0f0f0f0f;
    x = (x | x >> 4) & 0x00ff00ff;
    return (x | x >> 8) & 0x0000ffff;
}

static inline healpix_ring healpix_place(const int order, const int face, const int x, const int y)
{
    healpix_ring place;
    const int side = 1 << order;
    const int ring = (2 + face / 4) * side - x - y - 1;
    const int from_pole = min(min(ring, 4 * side - ring), side);
    /* the last rows of the faces: 1, 3, 5, 7 in the north and south, 0, 2, 4, 6 on the equator */
    const int column = 2 * (face % 4) + (face / 4 == 1 ? 0 : 1);
    const int shifted = ring < side || ring > 3 * side ? 0 : (ring - side) & 1;
    const int eighths = 2 * ((column * from_pole + x - y + 1 + shifted) / 2) - shifted - 1;
    place.side = side;
    place.ring = ring;
    place.from_pole = from_pole;
    place.quarters = (eighths + from_pole) / (2 * from_pole);
    place.eighths = eighths - 2 * from_pole * place.quarters;
    return place;
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

static inline real4 healpix_centre(const healpix_ring place)
{
    const int side = place.side, ring = place.ring;
    real cos_tilt, sin_tilt;
    if (ring >= side && ring <= 3 * side) {
        cos_tilt = ratio((real)(2 * (2 * side - ring)), (real)(3 * side));
        sin_tilt = root(((real)1 - cos_tilt) * ((real)1 + cos_tilt));
    } else {
        const real fraction = (real)place.from_pole / (real)side; /* a power of two */
        const real height = ratio(fraction * fraction, (real)3); /* 1 - |cos tilt| */
        cos_tilt = ring < side ? (real)1 - height : height - (real)1;
        sin_tilt = root(height * ((real)2 - height));
    }
    const real half_turns = ratio((real)place.eighths, (real)(4 * place.from_pole));
    const real c0 = cospi(half_turns), s0 = sinpi(half_turns);
    const real c1 = place.quarters & 1 ? -s0 : c0, s1 = place.quarters & 1 ? c0 : s0;
    return (real4)(cos_tilt, sin_tilt, place.quarters & 2 ? -c1 : c1, place.quarters & 2 ? -s1 : s1);
}
#endif
