/* weights_fine: posterior weights of the fine samples of each image, in place of their diff2.
 *
 * For sample s of block b (translation t = trans_list[block_trans[b] + u], child c):
 *   l = block_log_prior[b] + log_translation[i][t] - diff2[s]
% if hard:
 *   the largest l (first on ties) gets w = 1, all others 0     (cross-correlation iteration)
% else:
 *   w = exp(l - max l);  threshold as in significance;  omega = w >= threshold ? w / sum w : 0
% endif
 * and samples[s] = omega. Per image: sums = (max l, sum w, sum omega,
 *   sum omega pixel_size^2 | centre[i] - trans_px[t n_children + c] |^2), and found = (first sample
 * with the largest l, counted from the image's first; samples at or above the threshold).
 * An image without a finite l has w = 0 everywhere and -1 for the first of these.
 * One work-group of ${wg} an image. Specification E 5.5, 5.6.
 *
 * samples      real, read and written; image i owns samples[sample_start[i] .. sample_start[i+1])
 * block_start  int [images + 1], blocks of the image; sample_start long [images + 1], read
 * block_n_rows, block_trans, block_n_trans int [blocks], trans_list int,
 * block_log_prior real [blocks], log_translation real [images][n_trans], read
 * centre real2 [images] (prior offset minus integer offset, px), trans_px real2 [.] (px), read
 * sums real4 [images], found int2 [images], write
 * Local memory: ${wg} reals + 2 ${wg} ints. Order of sums: strided, then a pairwise tree.
 * Reference: tests/reference/weights_fine.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>
<%include file="/common/threshold.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void weights_fine(
    __global real* restrict samples, __global const int* restrict block_start,
    __global const long* restrict sample_start, __global const int* restrict block_n_rows,
    __global const int* restrict block_trans, __global const int* restrict block_n_trans,
    __global const int* restrict trans_list, __global const real* restrict block_log_prior,
    __global const real* restrict log_translation, __global const real2* restrict centre,
    __global const real2* restrict trans_px, const int n_trans, const int n_children,
    const real pixel_size, const real adaptive_fraction, const int max_significants,
    __global real4* restrict sums, __global int2* restrict found)
{
    __local real scratch[${wg}];
    __local int counts[${wg}];
    const int i = get_group_id(0);
    const int lid = get_local_id(0);
    const int b0 = block_start[i], b1 = block_start[i + 1];
    const long n = sample_start[i + 1] - sample_start[i];
    __global real* w = samples + sample_start[i];
    __global const real* lt = log_translation + (long)i * n_trans;

    real lowest = INFINITY; /* of minus l: group_argmin keeps the first on ties */
    int place = 0x7fffffff;
    long s0 = 0;
    for (int b = b0; b < b1; b++) {
        const int per_row = block_n_trans[b] * n_children;
        const int size = per_row * block_n_rows[b];
        for (int s = lid; s < size; s += ${wg}) {
            const int t = trans_list[block_trans[b] + (s % per_row) / n_children];
            const real l = block_log_prior[b] + lt[t] - w[s0 + s];
            w[s0 + s] = l;
            if (-l < lowest) {
                lowest = -l;
                place = (int)(s0 + s);
            }
        }
        s0 += size;
    }
    group_argmin(&lowest, &place, scratch, counts);
    const real top = -lowest;
    /* what is written to global memory above is read by other work-items below */
    barrier(CLK_GLOBAL_MEM_FENCE);
    real total = (real)0;
    for (long s = lid; s < n; s += ${wg}) {
% if hard:
        const real value = s == (long)place ? (real)1 : (real)0;
% else:
        const real value = isfinite(top) ? exp(w[s] - top) : (real)0;
% endif
        w[s] = value;
        total += value;
    }
    total = group_sum(total, scratch);
    barrier(CLK_GLOBAL_MEM_FENCE);
% if hard:
    const real x = (real)1;
% else:
    real x = significance_threshold(
        w, n, adaptive_fraction * total, max_significants, scratch, counts);
    x = fmax(x, (real)${"DBL_MIN" if double_precision else "FLT_MIN"});
    barrier(CLK_GLOBAL_MEM_FENCE);
% endif
    real omega_sum = (real)0, offset_sum = (real)0;
    int n_found = 0;
    s0 = 0;
    for (int b = b0; b < b1; b++) {
        const int per_row = block_n_trans[b] * n_children;
        const int size = per_row * block_n_rows[b];
        for (int s = lid; s < size; s += ${wg}) {
            const real value = w[s0 + s];
            const int keep = value >= x;
            const real omega = keep ? value / total : (real)0;
            w[s0 + s] = omega;
            if (keep) {
                const int u = s % per_row;
                const int t = trans_list[block_trans[b] + u / n_children];
                const real2 d = centre[i] - trans_px[t * n_children + u % n_children];
                omega_sum += omega;
                offset_sum += omega * pixel_size * pixel_size * (d.x * d.x + d.y * d.y);
                n_found++;
            }
        }
        s0 += size;
    }
    omega_sum = group_sum(omega_sum, scratch);
    offset_sum = group_sum(offset_sum, scratch);
    n_found = group_sum_int(n_found, counts);
    if (lid == 0) {
        sums[i] = (real4)(top, total, omega_sum, offset_sum);
        found[i] = (int2)(isfinite(top) ? place : -1, n_found);
    }
}
