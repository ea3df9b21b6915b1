"""The commands at the end of the GeRelion paper, without ``mpirun`` and the program's name.

Dashes are ASCII, and where the scan lost an underscore, a space or the value of the last ``--mode``
it is back; tests/cli/test_paper_commands.py compares them with the paper's text.
"""

from __future__ import annotations

_REFINE = (
    "--o Refine_OPT_C1/run8 --auto_refine --split_random_halves --i new_DFMerge_20.star "
    "--particle_diameter 160 --angpix 1.2156 --ref EMD-5778.mrc --firstiter_cc --ini_high 60 "
    "--ctf --ctf_corrected_ref --flatten_solvent --zero_mask --oversampling 1 --healpix_order 2 "
    "--auto_local_healpix_order 4 --offset_range 5 --offset_step 2 --sym {symmetry} "
    "--low_resol_join_halves 40 --norm --scale --j 1 --memory_per_thread 8 "
    "--dont_combine_weights_via_disc --mode 1"
)
_CLASSIFY = (
    "--o Class3D_OPT/run8 --i allimg.star --particle_diameter 180 --angpix 1.23 "
    "--ref 3D_relion_class001_shz-5.dat --firstiter_cc --ini_high 40 --ctf --ctf_corrected_ref "
    "--iter 25 --tau2_fudge 4 --K 6 --flatten_solvent --zero_mask --oversampling 1 "
    "--healpix_order 2 --offset_range 5 --offset_step 2 --sym {symmetry} --norm --scale --j 1 "
    "--memory_per_thread 8 --dont_combine_weights_via_disc --mode 1"
)
PAPER_COMMANDS = {
    "TRPV1 auto-refine C1": _REFINE.format(symmetry="C1"),
    "TRPV1 auto-refine C4": _REFINE.format(symmetry="C4"),
    "TRPV1 classification C1": _CLASSIFY.format(symmetry="C1"),
    "TRPV1 classification C4": _CLASSIFY.format(symmetry="C4"),
    "RAG auto-refine": (
        "--o Refine3D_OPT/run8 --auto_refine --split_random_halves "
        "--i particles_autopick_sort_class2d.star --particle_diameter 200 --angpix 3.54 "
        "--ref 3i3e_lp50A.mrc --firstiter_cc --ini_high 60 --ctf --ctf_corrected_ref "
        "--flatten_solvent --zero_mask --oversampling 1 --healpix_order 2 "
        "--auto_local_healpix_order 4 --offset_range 4 --offset_step 2 --sym D2 "
        "--low_resol_join_halves 40 --norm --scale --j 2 --memory_per_thread 4 "
        "--random_seed 1401784870 --dont_combine_weights_via_disc --mode 1"
    ),
    "RAG classification": (
        "--o Class3D_OPT/run8 --i particles_autopick_sort_class2d.star --particle_diameter 200 "
        "--angpix 3.54 --ref 3i3e_lp50A.mrc --firstiter_cc --ini_high 50 --ctf "
        "--ctf_corrected_ref --iter 25 --tau2_fudge 2 --K 4 --flatten_solvent --zero_mask "
        "--oversampling 1 --healpix_order 2 --offset_range 3 --offset_step 2 --sym C1 --norm "
        "--scale --j 1 --memory_per_thread 4 --dont_combine_weights_via_disc --mode 1"
    ),
}
