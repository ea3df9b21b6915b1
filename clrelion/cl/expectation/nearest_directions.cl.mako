/* nearest_directions: the length of each particle's list, which has one direction at least.
 *
 * Particle i has the items j = i * n_roots ... of count_directions. Where they are all empty the
 * direction nearest to any mate is kept, with all of the prior; of those that differ by rounding the
 * first one.
 *   nearest[i] = its number, or -1: there are others; nearest_mate[i] = its mate
 *   n_entries[j] of the item that holds it = psi_count of its block
 *   log_sum[i] = ln of the sum of the weights; 0 for a nearest one
 *   lengths[i] = n_classes * (sum of n_entries)
 * Specification E 4.6.
 *
 * pixels int [n_dir], radius real [order + 1] (radians), centres wide [n * n_mates][5], psi_count
 * int [n * n_mates], weight real [n * n_roots], read; n_entries int [n * n_roots], read and
 * written; nearest, nearest_mate, lengths int [n], log_sum real [n], write
 * Local memory: none. Order of sums: by increasing pixel number.
 * Reference: tests/reference/local_lists.py
 */
<%include file="/common/nearby_directions.cl.mako"/>

static inline real measure_of_angle(const real angle)
{
% if prior == "none":
    return EVERYWHERE;
% elif prior == "rot":
    const real s = sin(angle);
    return angle > (real)1.4 ? EVERYWHERE : s * s + (real)1e-6;
% else:
    const real s = sin((real)0.5 * min(angle, (real)M_PI_F));
    return (real)4 * s * s;
% endif
}

/* Measures up to which a pixel of each order may hold a direction within the angle; radius is the
 * largest distance of a pixel's corner from its centre. With room for rounding. */
static inline void set_reach(
    real* reach, const real angle, __global const real* radius, const int top, const int order)
{
    for (int k = top; k <= order; k++)
        reach[k] = (real)1.00001
            * measure_of_angle(angle + (k < order ? radius[k] : (real)0) + (real)2e-6);
}

/* Sets place and mate of the nearest direction within the angle; false: there is none. */
static inline bool nearest_within(
    const real angle, __global const int* pixels, const int n_dir, const int order, const int top,
    __global const real* radius, __global const wide* own, const int n_mates, const int n_roots,
    int* place, int* mate)
{
    real reach[MOST_LEVELS];
    set_reach(reach, angle, radius, top, order);
    wide least = wide_of(EVERYWHERE);
    bool is_found = false;
    int pixel;
    for (int root = 0; root < n_roots; root++) {
        direction_walk walk;
        begin_walk(&walk, order, top, root, pixels, n_dir, own, n_mates, reach);
        while ((pixel = next_direction(&walk, pixels, n_dir, own, reach)) >= 0) {
            wide measure;
            const int m = closest_mate(&walk, pixel, own, reach[order], &measure);
            if (!is_below(measure, least)) continue;
            least = measure;
            *place = walk.place;
            *mate = m;
            is_found = true;
            set_reach(reach, angle_of_measure(least), radius, top, order);
        }
    }
    return is_found;
}

__kernel void nearest_directions(
    __global const int* restrict pixels, const int n_dir, const int order, const int top,
    __global const real* restrict radius, __global const wide* restrict centres,
    __global const int* restrict psi_count, const int n_mates, const int n_roots, const int n,
    const int n_classes, __global const real* restrict weight, __global int* restrict n_entries,
    __global int* restrict nearest, __global int* restrict nearest_mate,
    __global int* restrict lengths, __global real* restrict log_sum)
{
    const int i = get_global_id(0);
    if (i >= n) return;
    int total = 0;
    real sum = (real)0;
    for (int r = 0; r < n_roots; r++) {
        total += n_entries[i * n_roots + r];
        sum += weight[i * n_roots + r];
    }
    int place = -1, mate = 0;
    if (total == 0) {
        __global const wide* own = centres + CENTRE_SIZE * i * n_mates;
        real angle = (real)2 * radius[order];
        while (!nearest_within(angle, pixels, n_dir, order, top, radius, own, n_mates, n_roots,
                               &place, &mate))
            angle *= (real)2;
        total = psi_count[i * n_mates + mate];
        n_entries[i * n_roots + (pixels[place] >> 2 * (order - top))] = total;
    }
    nearest[i] = place;
    nearest_mate[i] = mate;
    lengths[i] = n_classes * total;
    log_sum[i] = place < 0 ? log(sum) : (real)0;
}
