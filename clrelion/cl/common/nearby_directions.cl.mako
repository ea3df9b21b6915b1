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
<%include file="/common/healpix_vectors.cl.mako"/>
#ifndef CLRELION_NEARBY_DIRECTIONS
#define CLRELION_NEARBY_DIRECTIONS
#define CENTRE_SIZE 5
#define MOST_LEVELS 16
#define MOST_MATES 256
#define EVERYWHERE (real)8

/* distance of two numbers that differ by more than rounding */
#define DIFFERENT(a) ((real)1e-9 * (a) + (real)1e-19)

typedef struct {
    int order, top, level, pixel, place, n_near;
    uchar near[MOST_MATES]; /* mates that may be near what is below the root */
    real3 vector; /* of the pixel found last, about */
    bool ended;
} direction_walk;

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

static inline void begin_walk(
    direction_walk* walk, const int order, const int top, const int root,
    __global const int* pixels, const int n_dir, __global const wide* centres, const int n_mates,
    const real* reach)
{
    const real3 v = pixel_vector(top, root);
    walk->order = order;
    walk->top = top;
    walk->level = top;
    walk->pixel = root;
    walk->place = 0;
    walk->n_near = 0;
    const int n_tried = is_in_grid(walk, pixels, n_dir) ? n_mates : 0;
    for (int m = 0; m < n_tried; m++)
        if (near_measure(v, centres + CENTRE_SIZE * m) <= reach[top])
            walk->near[walk->n_near++] = (uchar)m;
    walk->ended = walk->n_near == 0;
}

/* Next pixel of the grid's order that is, in the precision of real, within reach; -1: none is left.
 * Its direction is number walk->place. */
static inline int next_direction(
    direction_walk* walk, __global const int* pixels, const int n_dir, __global const wide* centres,
    const real* reach)
{
    while (!walk->ended) {
        const real3 v = pixel_vector(walk->level, walk->pixel);
        bool inside = false;
        for (int j = 0; j < walk->n_near && !inside; j++)
            inside = near_measure(v, centres + CENTRE_SIZE * walk->near[j]) <= reach[walk->level];
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
    const direction_walk* walk, const int pixel, __global const wide* centres, const real reach,
    wide* measure)
{
    wide v[3];
    int mate = 0;
    *measure = wide_of(EVERYWHERE);
    exact_vector(walk->order, pixel, v);
    for (int j = 0; j < walk->n_near; j++) {
        const int m = walk->near[j];
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
