#!/usr/bin/env bash
# Install Debian packages if this user may (root, or sudo that asks for no password); fails if not.
# Usage: tools/apt_install.sh PACKAGE...
set -euo pipefail
command -v apt-get >/dev/null || exit 1
if [ "$(id -u)" = 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing $* with apt-get"
"${as_root[@]}" apt-get update -qq >/dev/null
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
