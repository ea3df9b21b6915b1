#!/usr/bin/env bash
# See that an OpenCL device for the CPU is there, and install a runtime if not. Prints, as the only
# line on standard output, what to give to --device.
# Usage: tools/ensure_opencl.sh VENV any     any CPU device will do (make demo)
#        tools/ensure_opencl.sh VENV pocl    PoCL, else any CPU device (make test)
set -euo pipefail
venv=$1
wanted=$2
pocl="Portable Computing Language"

works() { "$venv/bin/clrelion" devices --check --device "$1" >/dev/null 2>&1; }

if [ "$wanted" = pocl ]; then
    works "$pocl" || "$(dirname "$0")/apt_install.sh" pocl-opencl-icd >&2 || true
    if works "$pocl"; then
        echo "$pocl"
        exit 0
    fi
    echo "PoCL is not here and cannot be installed from here (apt install pocl-opencl-icd):" \
        "going on with another CPU runtime" >&2
fi
if ! works cpu; then
    echo "no OpenCL runtime for the CPU: installing Intel's from PyPI (about 300 MB)" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        intel-opencl-rt intel-cmplr-lib-rt >&2
fi
"$venv/bin/clrelion" devices --check --device cpu >&2
echo cpu
