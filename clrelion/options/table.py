"""The table of all options: flag, group, unit, help, default and allowed values, in one place."""

from typing import Annotated, Literal

from pydantic import Field

from clrelion.options.flags import (
    COMMAND,
    CONTINUE,
    DEVICE,
    REPORT,
    Flag,
    MemorySize,
    OffFloat,
    OffInt,
    OffName,
)
from clrelion.options.method_table import MethodOptions


class OptionTable(MethodOptions):
    """One field an option; the rules between them are in :mod:`clrelion.options.rules`."""

    continue_from: Annotated[
        OffName, Flag("continue", CONTINUE, "", "Go on from RUN_optimiser.star.", COMMAND, "STAR")
    ] = None
    force_converge: Annotated[
        bool, Flag("force_converge", CONTINUE, "",
            "Make the next iteration the last: all data, joined halves.", COMMAND)
    ] = False
    join_random_halves: Annotated[
        bool, Flag("join_random_halves", CONTINUE, "", "Join the halves before going on.", COMMAND)
    ] = False

    device: Annotated[
        str, Flag("device", DEVICE, "",
            "auto, cpu, gpu, gpu:N, a part of a name, PLATFORM:INDEX or uuid:... (`clrelion "
            "devices` lists them); a comma list gives one per rank.", COMMAND, "DEVICE")
    ] = "auto"
    precision: Annotated[
        Literal["single", "double"], Flag("precision", DEVICE, "",
            "Arithmetic of the device.", COMMAND, "single|double")
    ] = "single"
    memory_limit_bytes: Annotated[
        MemorySize, Flag("memory_limit", DEVICE, "MB",
            "Device memory to use at most; also 8G, 512M (default: what is free).", COMMAND, "SIZE")
    ] = None
    free_gpu_memory_mb: Annotated[
        float, Field(ge=0), Flag("free_gpu_memory", DEVICE, "MB",
            "Device memory to leave free.", COMMAND)
    ] = 0.0
    n_threads: Annotated[
        OffInt, Flag("j", DEVICE, "", "Host threads (default: all cores; RELION: 1).", COMMAND)
    ] = None
    preread_images: Annotated[
        bool, Flag("preread_images", DEVICE, "", "Read all particles into memory once.", COMMAND)
    ] = False
    scratch_dir: Annotated[
        OffName, Flag("scratch_dir", DEVICE, "",
            "Folder on a local disk: each rank keeps copies of the images it reads there.",
            COMMAND, "DIR")
    ] = None
    keep_free_scratch_gb: Annotated[
        float, Field(ge=0), Flag("keep_free_scratch", DEVICE, "GB",
            "Space to leave on the disk of --scratch_dir.", COMMAND)
    ] = 10.0
    reuse_scratch: Annotated[
        bool, Flag("reuse_scratch", DEVICE, "",
            "Read the copy that `clrelion scratch copy` has made in --scratch_dir.", COMMAND)
    ] = False
    stall_timeout_seconds: Annotated[
        OffFloat, Flag("stall_timeout", DEVICE, "s",
            "Several ranks: end the job if one makes no progress for so long.", COMMAND)
    ] = 1800.0
    deterministic: Annotated[
        bool, Flag("deterministic", DEVICE, "",
            "Bit-identical repeats on a device, at a price: see docs/devices.md.", COMMAND)
    ] = False

    dry_run: Annotated[
        bool, Flag("dry_run", REPORT, "", "Check the input, print the plan, and stop.", COMMAND)
    ] = False
    verbosity: Annotated[
        int, Field(ge=0, le=2), Flag("verb", REPORT, "",
            "0: warnings only, 1: normal, 2: everything.", COMMAND)
    ] = 1
    print_symmetry_ops: Annotated[
        bool, Flag("print_symmetry_ops", REPORT, "", "Print symmetry operators and stop.", COMMAND)
    ] = False
    pipeline_control: Annotated[
        OffName, Flag("pipeline_control", REPORT, "",
            "Folder (prefix) of RELION's RELION_JOB_EXIT_* marker files.", COMMAND, "DIR")
    ] = None
