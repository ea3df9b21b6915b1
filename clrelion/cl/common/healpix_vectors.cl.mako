<%doc>
Unit vectors of the centres of nested HEALPix pixels. Device functions only.

    pixel_vector(order, pixel)        about, to 1e-6; fast
    exact_vector(order, pixel, v)     in wide numbers

Template parameters: real, double_precision, wide. Specification E 4.1.
Reference: tests/reference/local_priors.py. Local memory: none.
</%doc>
<%include file="/common/wide_numbers.cl.mako"/>
<%include file="/common/healpix.cl.mako"/>
#ifndef CLRELION_HEALPIX_VECTORS
#define CLRELION_HEALPIX_VECTORS
static inline healpix_ring nested_place(const int order, const int pixel)
{
    const int inside = pixel & ((1 << 2 * order) - 1);
    return healpix_place(order, pixel >> 2 * order, even_bits(inside), even_bits(inside >> 1));
}

static inline real3 pixel_vector(const int order, const int pixel)
{
    const healpix_ring place = nested_place(order, pixel);
    const int side = place.side, ring = place.ring;
    real z, r;
    if (ring >= side && ring <= 3 * side) {
        z = (real)(2 * (2 * side - ring)) / (real)(3 * side);
        r = sqrt(((real)1 - z) * ((real)1 + z));
    } else {
        const real fraction = (real)place.from_pole / (real)side;
        const real height = fraction * fraction / (real)3;
        z = ring < side ? (real)1 - height : height - (real)1;
        r = sqrt(height * ((real)2 - height));
    }
    /* Taylor series: the angle is at most pi / 4 */
    const real a = (real)(0.25f * M_PI_F) * (real)place.eighths / (real)place.from_pole, t = a * a;
    const real s = r * a * ((real)1 + t * (-(real)1 / 6 + t * ((real)1 / 120 - t / 5040)));
    const real c = r * ((real)1 + t * ((real)-0.5 + t * ((real)1 / 24 + t * (-(real)1 / 720
        + t / 40320))));
    const real x = place.quarters & 1 ? -s : c, y = place.quarters & 1 ? c : s;
    return (real3)(place.quarters & 2 ? -x : x, place.quarters & 2 ? -y : y, z);
}

static inline void exact_vector(const int order, const int pixel, wide* v)
{
    const healpix_ring place = nested_place(order, pixel);
    const int side = place.side, ring = place.ring;
    const wide one = wide_of((real)1);
    wide z, r, c, s;
    if (ring >= side && ring <= 3 * side) {
        z = wide_over(wide_of((real)(2 * (2 * side - ring))), wide_of((real)(3 * side)));
        r = wide_root(wide_times(wide_minus(one, z), wide_plus(one, z)));
    } else {
        const wide fraction = wide_of((real)place.from_pole / (real)side); /* a power of two */
        const wide height = wide_over(wide_times(fraction, fraction), wide_of((real)3));
        z = ring < side ? wide_minus(one, height) : wide_minus(height, one);
        r = wide_root(wide_times(height, wide_minus(wide_of((real)2), height)));
    }
    wide_cos_sin_pi(
        wide_over(wide_of((real)place.eighths), wide_of((real)(4 * place.from_pole))), &c, &s);
    const wide c1 = place.quarters & 1 ? -s : c, s1 = place.quarters & 1 ? c : s;
    v[0] = wide_times(r, place.quarters & 2 ? -c1 : c1);
    v[1] = wide_times(r, place.quarters & 2 ? -s1 : s1);
    v[2] = z;
}
#endif
