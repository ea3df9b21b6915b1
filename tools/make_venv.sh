#!/usr/bin/env bash
# Make the virtual environment and install clrelion into it, editable.
# Usage: tools/make_venv.sh VENV [EXTRAS]      e.g. tools/make_venv.sh .venv dev,vkfft
set -euo pipefail
venv=$1
extras=${2:-}
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "clrelion needs Python 3.10 or newer; $python is $("$python" -V). Set PYTHON=python3.x" >&2
    exit 1
fi

if [ ! -x "$venv/bin/pip" ]; then
    # Debian splits venv's pip off into python3-venv
    if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
        rm -rf "$venv"
        "$(dirname "$0")/apt_install.sh" python3-venv || {
            echo "'$python -m venv' does not work here: install python3-venv and try again" >&2
            exit 1
        }
        "$python" -m venv "$venv"
    fi
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --use-pep517 --editable ".${extras:+[$extras]}"
