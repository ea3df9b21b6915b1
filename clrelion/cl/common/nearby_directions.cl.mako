<%doc>
The directions of a HEALPix grid that are near those of a particle, by increasing pixel number: a walk
down the nested pixels that leaves out what lies outside the reach of the prior or of the grid.

A particle has n_mates centres c, five numbers each (kernel prior_mates). How far a direction v of
the grid is from one of them:
    cap    |v - c|^2 = 4 sin^2(theta / 2)       priors on rot and tilt: theta between directions
    tilt   |(sin, cos) of v's tilt about c - (sin, cos) of the prior tilt|^2 = 4 sin^2(theta / 2)
    rot    (v . c)^2 = sin^2 theta               theta from the plane of the prior rot
    none   0
Of its mates the closest counts; of those that differ by rounding the first one.

reach[k] is the measure up to which the centre of a pixel of order k may hold a direction within the
prior's limit, with room for rounding (LocalLists).

Template parameters: real, double_precision, wide, and
    prior   "cap", "rot", "tilt" or "none"
Device functions only. Specification E 4.6. Reference: tests/reference/local_priors.py.
Local memory: none.
</%doc>
<%include file="/common/wide_numbers.cl.mako"/>
<%include file="/common/healpix.cl.mako"/>
#ifndef CLRELION_NEARBY_DIRECTIONS
#define CLRELION_NEARBY_DIRECTIONS
#define CENTRE_SIZE 5
#define MOST_LEVELS 16
#define EVERYWHERE (real)8

/* distance of two numbers that differ by more than rounding */
#define DIFFERENT(a) ((real)1e-9 * (a) + (real)1e-19)

typedef struct {
    int order, top, level, pixel, place;
    real3 vector; /* of the pixel found last, about */
    bool ended;
} direction_walk;

static inline direction_walk walk_below(const int order, const int top, const int root)
{
    direction_walk walk;
    walk.order = order;
    walk.top = top;
    walk.level = top;
    walk.pixel = root;
    walk.place = 0;
    walk.ended = false;
    return walk;
}

static inline real angle_of_measure(const wide measure)
{
% if prior == "none":
    return (real)0;
% else:
    const real left = wide_value(wide_minus(wide_of((real)${1 if prior == "rot" else 4}), measure));
    const real angle = atan2(sqrt(wide_value(measure)), sqrt(max(left, (real)0)));
    return ${"angle" if prior == "rot" else "(real)2 * angle"};
% endif
}

static inline real near_measure(const real3 v, __global const wide* c)
{
% if prior == "none":
    return (real)0;
% else:
    const real3 w = (real3)(wide_value(c[0]), wide_value(c[1]), wide_value(c[2]));
    % if prior == "cap":
    return dot(v - w, v - w);
    % elif prior == "rot":
    return dot(v, w) * dot(v, w);
    % else:
    const real3 across = cross(v, w);
    const real z = dot(v, w) - wide_value(c[3]);
    const real r = sqrt(dot(across, across)) - wide_value(c[4]);
    return z * z + r * r;
    % endif
% endif
}

static inline wide exact_measure(const wide* v, __global const wide* c)
{
% if prior == "none":
    return wide_of((real)0);
% elif prior == "cap":
    const wide difference[3] = {
        wide_minus(v[0], c[0]), wide_minus(v[1], c[1]), wide_minus(v[2], c[2])};
    return wide_dot(difference, difference);
% else:
    const wide w[3] = {c[0], c[1], c[2]};
    const wide z = wide_dot(v, w);
    % if prior == "rot":
    return wide_times(z, z);
    % else:
    const wide across[3] = {
        wide_minus(wide_times(v[1], w[2]), wide_times(v[2], w[1])),
        wide_minus(wide_times(v[2], w[0]), wide_times(v[0], w[2])),
        wide_minus(wide_times(v[0], w[1]), wide_times(v[1], w[0]))};
    const wide along = wide_minus(z, c[3]);
    const wide beside = wide_minus(wide_root(wide_dot(across, across)), c[4]);
    return wide_plus(wide_times(along, along), wide_times(beside, beside));
    % endif
% endif
}

static inline healpix_ring nested_place(const int order, const int pixel)
{
    const int inside = pixel & ((1 << 2 * order) - 1);
    return healpix_place(order, pixel >> 2 * order, even_bits(inside), even_bits(inside >> 1));
}

/* About: within the room that set_reach leaves */
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

/* First place from `low` on whose pixel is not below `pixel`; pixels ascend. */
static inline int place_from(
    __global const int* pixels, const int n_dir, int low, const int pixel)
{
    if (low >= n_dir || pixels[low] >= pixel) return low;
    int high = min(n_dir, low + pixel - pixels[low]);
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (pixels[middle] < pixel) low = middle + 1; else high = middle;
    }
    return low;
}

/* Some of the descendants of a pixel are in the grid; walk->place becomes that of the first. */
static inline bool is_in_grid(direction_walk* walk, __global const int* pixels, const int n_dir)
{
    const int shift = 2 * (walk->order - walk->level), first = walk->pixel << shift;
    if (n_dir == 12 << 2 * walk->order) {
        walk->place = first;
        return true;
    }
    walk->place = place_from(pixels, n_dir, walk->place, first);
    return walk->place < n_dir && pixels[walk->place] - first < 1 << shift;
}

/* Next pixel of the grid's order that is, in the precision of real, within reach; -1: none is left.
 * Its direction is number walk->place. */
static inline int next_direction(
    direction_walk* walk, __global const int* pixels, const int n_dir, __global const wide* centres,
    const int n_mates, const real* reach)
{
    while (!walk->ended) {
        const real3 v = pixel_vector(walk->level, walk->pixel);
        bool inside = false;
        for (int m = 0; m < n_mates && !inside; m++)
            inside = near_measure(v, centres + CENTRE_SIZE * m) <= reach[walk->level];
        inside = inside && is_in_grid(walk, pixels, n_dir);
        const int pixel = walk->pixel;
        if (inside && walk->level < walk->order) {
            walk->level++;
            walk->pixel <<= 2;
            continue;
        }
        while (walk->level > walk->top && (walk->pixel & 3) == 3) {
            walk->level--;
            walk->pixel >>= 2;
        }
        walk->ended = walk->level == walk->top;
        walk->pixel++;
        if (!inside) continue;
        walk->vector = v;
        return pixel;
    }
    return -1;
}

/* The mate that is closest to a direction, and how far it is; a prior on one angle alone is that of
 * no mate in particular: the first. */
static inline int closest_mate(
    const direction_walk* walk, const int pixel, __global const wide* centres, const int n_mates,
    const real reach, wide* measure)
{
    wide v[3];
    int mate = 0;
    *measure = wide_of(EVERYWHERE);
    exact_vector(walk->order, pixel, v);
    for (int m = 0; m < n_mates; m++) {
        if (near_measure(walk->vector, centres + CENTRE_SIZE * m) > reach) continue;
        const wide found = exact_measure(v, centres + CENTRE_SIZE * m);
        const real gain = wide_value(wide_minus(*measure, found));
        if (gain <= DIFFERENT(wide_value(*measure))) continue;
        *measure = found;
% if prior == "cap":
        mate = m;
% endif
    }
    return mate;
}

/* It is nearer than the cutoff, by more than rounding. */
static inline bool is_below(const wide measure, const wide limit)
{
    return wide_value(wide_minus(limit, measure)) > DIFFERENT(wide_value(limit));
}
#endif
