/* local_orientations: the list of orientations of each particle's local search.
 *
 * Particle i has lengths[i] entries from prior_base[i] on, ordered by class, direction and psi; items
 * j = i * n_roots + r as in count_directions, entries[j] of one class before each. Its classes are
 * class_of_particle[i], or alive[0] ... alive[n_classes - 1] where that is null. Of entry
 * (class, direction, psi) with mate m of the direction, block b = i * n_mates + m:
 *   log_prior = ln(prior / mean prior)
 *             = -theta^2 / 2 sigma^2 - log_sum[i] - psi^2 / 2 sigma_psi^2 - psi_log_sum[b]
 *               + ln(entries of a class)
 * with theta the angle to the mate and psi that to its psi, radians; sigma_psi = 0: no prior on psi.
 * Specification E 4.6, 4.7.
 *
 * pixels int [n_dir], reach real [order + 1], limit wide [1], centres wide [n * n_mates][5],
 * psi_first, psi_count int and psi_offset, psi_log_sum real [n * n_mates] (psi_windows), nearest,
 * nearest_mate, lengths int and log_sum real [n] (nearest_directions), entries int [n_items + 1],
 * alive int [n_classes], class_of_particle int [n] or null, read; prior_base int [n], log_prior real
 * and classes, directions, psis int [entries], write
 * Local memory: none. Order of sums: as written.
 * Reference: tests/reference/local_lists.py
 */
<%include file="/common/nearby_directions.cl.mako"/>

#define FULL_TURN REAL(6.283185307179586)

__kernel void local_orientations(
    __global const int* restrict pixels, const int n_dir, const int order, const int top,
    __global const real* restrict reach, __global const wide* restrict limit, const real sigma,
    __global const wide* restrict centres,
    __global const int* restrict psi_first, __global const int* restrict psi_count,
    __global const real* restrict psi_offset, __global const real* restrict psi_log_sum,
    const real psi_step, const real sigma_psi, const int n_psi,
    __global const int* restrict nearest, __global const int* restrict nearest_mate,
    __global const int* restrict lengths, __global const real* restrict log_sum,
    __global const int* restrict entries, __global const int* restrict alive,
    __global const int* restrict class_of_particle, const int n_classes, const int n_mates,
    const int n_roots, const int n_items, __global int* restrict prior_base,
    __global real* restrict log_prior, __global int* restrict classes,
    __global int* restrict directions, __global int* restrict psis)
{
    const int j = get_global_id(0);
    if (j >= n_items) return;
    const int i = j / n_roots, first_block = i * n_mates, count = lengths[i] / n_classes;
    const int base = n_classes * entries[i * n_roots];
    int at = base + entries[j] - entries[i * n_roots];
    const int end = at + entries[j + 1] - entries[j];
    if (j == i * n_roots) prior_base[i] = base;
    const real of_particle = log((real)count) - log_sum[i];
    __global const wide* own = centres + CENTRE_SIZE * first_block;
    real own_reach[MOST_LEVELS];
    for (int k = top; k <= order; k++) own_reach[k] = reach[k];
    direction_walk walk;
    begin_walk(&walk, order, top, j % n_roots, pixels, n_dir, own, n_mates, own_reach);
    while (at < end) {
        int place = nearest[i], mate = nearest_mate[i];
        real theta = (real)0;
        if (place < 0) {
            wide measure;
            const int pixel = next_direction(&walk, pixels, n_dir, own, own_reach);
            if (pixel < 0) return;
            mate = closest_mate(&walk, pixel, own, own_reach[order], &measure);
            if (!is_below(measure, limit[0])) continue;
            place = walk.place;
            theta = angle_of_measure(measure) / sigma;
        }
        const int b = first_block + mate, n = psi_count[b];
        const int turned = max(0, psi_first[b] + n - n_psi); /* angles beyond a full turn */
        const real of_direction = of_particle - (real)0.5 * theta * theta - psi_log_sum[b];
        for (int p = 0; p < n; p++, at++) {
            /* by increasing psi: those beyond a full turn first */
            const int step = p < turned ? n - turned + p : p - turned;
            real psi = psi_offset[b] + psi_step * (real)step;
            psi -= FULL_TURN * rint(psi / FULL_TURN);
            psi = sigma_psi > (real)0 ? psi / sigma_psi : (real)0;
            for (int k = 0; k < n_classes; k++) {
                const int e = at + k * count;
                log_prior[e] = of_direction - (real)0.5 * psi * psi;
                classes[e] = class_of_particle ? class_of_particle[i] : alive[k];
                directions[e] = place;
                psis[e] = (psi_first[b] + step) % n_psi;
            }
        }
    }
}
