/* count_directions: how many orientations each particle's local search has below each root pixel.
 *
 * Item j = i * n_roots + r is particle i and root r, a HEALPix pixel of order top. Of the directions
 * below it those are kept whose closest mate is nearer than limit[0], a measure of
 * common/nearby_directions; with mate m each has the psi angles of block b = i * n_mates + m.
 *   n_entries[j] = sum over kept directions of psi_count[b]
 *   weight[j] = sum over them of exp(-theta^2 / 2 sigma^2), theta in radians (no prior: 1 each)
 * Specification E 4.6.
 *
 * pixels int [n_dir], ascending, of order `order`; reach real [order + 1]; limit wide [1];
 * centres wide [n * n_mates][5]; psi_count int [n * n_mates], read; n_entries int [n_items],
 * weight real [n_items], write
 * Local memory: none. Order of sums: by increasing pixel number.
 * Reference: tests/reference/local_lists.py
 */
<%include file="/common/nearby_directions.cl.mako"/>

__kernel void count_directions(
    __global const int* restrict pixels, const int n_dir, const int order, const int top,
    __global const real* restrict reach, __global const wide* restrict limit, const real sigma,
    __global const wide* restrict centres, __global const int* restrict psi_count,
    const int n_mates, const int n_roots, const int n_items, __global int* restrict n_entries,
    __global real* restrict weight)
{
    const int j = get_global_id(0);
    if (j >= n_items) return;
    const int first_block = j / n_roots * n_mates;
    __global const wide* own = centres + CENTRE_SIZE * first_block;
    real own_reach[MOST_LEVELS];
    for (int k = top; k <= order; k++) own_reach[k] = reach[k];
    direction_walk walk;
    begin_walk(&walk, order, top, j % n_roots, pixels, n_dir, own, n_mates, own_reach);
    int n = 0, pixel;
    real sum = (real)0;
    while ((pixel = next_direction(&walk, pixels, n_dir, own, own_reach)) >= 0) {
        wide measure;
        const int mate = closest_mate(&walk, pixel, own, own_reach[order], &measure);
        if (!is_below(measure, limit[0])) continue;
        const real theta = angle_of_measure(measure) / sigma;
        n += psi_count[first_block + mate];
        sum += exp((real)-0.5 * theta * theta);
    }
    n_entries[j] = n;
    weight[j] = sum;
}
