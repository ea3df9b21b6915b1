/* fine_lists: the significant samples of some images as blocks of the fine pass, and their rows.
 *
 * Block b < n_blocks is entry g = first_block + b of the list of significant orientations: image
 * i = significant_image[g], orientation e = significant_orientation[g] of its list, translations
 * trans_list[significant_trans[g]] ... up to significant_trans[g + 1]. With the orientation's class,
 * dir and psi at place q = (dense ? e : prior_base[i] + e):
 *   block_image = i - first_image,  block_row = b * n_children,  block_n_rows = n_children,
 *   block_trans, block_n_trans: the translations,
 *   block_out = (block_trans - first_trans) * n_children * n_child_trans,
 *   block_log_prior = log_prior[prior_base[i] + e],  block_direction = class * n_dir + dir
 * and for its rows n = block_row + c, the children c < n_children of the orientation,
 *   row_class,  row_frame = dir * (n_children / n_child_psi) + c / n_child_psi,
 *   row_psi = psi * n_child_psi + c % n_child_psi,
 *   row_projection = ((class * n_dir + dir) * n_psi + psi) * n_children + c with a table of the
 *   slices of all orientations (table != 0), else n.
 * Specification E 4.2, 5.4 (pass 2).
 *
 * significant_image, significant_orientation int [.], significant_trans int [. + 1], prior_base int
 * [images], log_prior real, entry_class, entry_dir, entry_psi int, read
 * block_image, block_row, block_n_rows, block_trans, block_n_trans, block_direction int [blocks],
 * block_out long [blocks], block_log_prior real [blocks], row_class, row_frame, row_psi,
 * row_projection int [rows], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/fine_lists.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void fine_lists(
    __global const int* restrict significant_image,
    __global const int* restrict significant_orientation,
    __global const int* restrict significant_trans, __global const int* restrict prior_base,
    __global const real* restrict log_prior, __global const int* restrict entry_class,
    __global const int* restrict entry_dir, __global const int* restrict entry_psi,
    const int dense, const int table, const int n_dir, const int n_psi, const int n_children,
    const int n_child_psi, const int n_child_trans, const int first_block, const int first_image,
    const int first_trans, const int n_blocks,
    __global int* restrict block_image, __global int* restrict block_row,
    __global int* restrict block_n_rows, __global int* restrict block_trans,
    __global int* restrict block_n_trans, __global long* restrict block_out,
    __global real* restrict block_log_prior, __global int* restrict block_direction,
    __global int* restrict row_class, __global int* restrict row_frame,
    __global int* restrict row_psi, __global int* restrict row_projection)
{
    const int b = get_global_id(0);
    if (b >= n_blocks) return;
    const int g = first_block + b;
    const int image = significant_image[g];
    const int listed = prior_base[image] + significant_orientation[g];
    const int q = dense ? significant_orientation[g] : listed;
    const int k = entry_class[q], dir = entry_dir[q], psi = entry_psi[q];
    const int trans = significant_trans[g];
    block_image[b] = image - first_image;
    block_row[b] = b * n_children;
    block_n_rows[b] = n_children;
    block_trans[b] = trans;
    block_n_trans[b] = significant_trans[g + 1] - trans;
    block_out[b] = (long)(trans - first_trans) * n_children * n_child_trans;
    block_log_prior[b] = log_prior[listed];
    block_direction[b] = k * n_dir + dir;
    const int slice = (table ? (k * n_dir + dir) * n_psi + psi : b) * n_children;
    for (int c = 0; c < n_children; c++) {
        const int n = b * n_children + c;
        row_class[n] = k;
        row_frame[n] = dir * (n_children / n_child_psi) + c / n_child_psi;
        row_psi[n] = psi * n_child_psi + c % n_child_psi;
        row_projection[n] = slice + c;
    }
}
