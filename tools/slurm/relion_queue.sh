#!/bin/bash
# Queue template for RELION's GUI: External jobs whose executable is clrelion_refine, clrelion_refine3d or
# clrelion_class3d.  RELION's External tab has no field for MPI, so two of its extra fields are used:
#     export RELION_QSUB_TEMPLATE=/path/to/relion_queue.sh
#     export RELION_QSUB_EXTRA_COUNT=2
#     export RELION_QSUB_EXTRA1="Nodes:"         RELION_QSUB_EXTRA1_DEFAULT=1
#     export RELION_QSUB_EXTRA2="GPUs a node:"   RELION_QSUB_EXTRA2_DEFAULT=4
#     export RELION_QSUB_COMMAND=sbatch RELION_QUEUE_USE=yes
#SBATCH --job-name=XXXnameXXX
#SBATCH --output=XXXoutfileXXX
#SBATCH --error=XXXerrfileXXX
#SBATCH --open-mode=append
#SBATCH --partition=XXXqueueXXX
#SBATCH --nodes=XXXextra1XXX
#SBATCH --ntasks-per-node=XXXextra2XXX
#SBATCH --gpus-per-node=XXXextra2XXX
#SBATCH --cpus-per-task=XXXthreadsXXX
#SBATCH --mem=0
#SBATCH --time=24:00:00
set -euo pipefail

# module load <openmpi>
# source <environment>/bin/activate

srun --mpi=pmix --kill-on-bad-exit=1 --cpu-bind=cores XXXcommandXXX
