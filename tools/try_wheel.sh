#!/usr/bin/env bash
# Build wheel and sdist, install the wheel into a clean environment, and run the demo with it.
# Usage: tools/try_wheel.sh FOLDER        FOLDER is made; what it held is lost
set -euo pipefail

source_folder="$(cd "$(dirname "$0")/.." && pwd)"
folder="$1"
python="${PYTHON:-python3}"
rm -rf "$folder"
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"

"$python" -m venv "$folder/build"
"$folder/build/bin/pip" install --quiet --disable-pip-version-check build
# the wheel is made from the sdist: so that holds all that is needed
"$folder/build/bin/python" -m build --outdir "$folder/dist" "$source_folder"

"$python" -m venv "$folder/clean"
"$folder/clean/bin/pip" install --quiet --disable-pip-version-check "$folder"/dist/*.whl

# away from the source tree: nothing but the wheel may be imported
cd "$folder"
clean="$folder/clean/bin"
"$clean/clrelion" --version
"$clean/clrelion" devices --check --device cpu
"$clean/clrelion" refine3d --o demo/run --device cpu \
  --i "$source_folder/examples/betagal/particles.star" --ref "$source_folder/examples/betagal/ref.mrc" \
  --particle_diameter 200 --sym D2 --ini_high 40 --random_seed 42
"$clean/clrelion" postprocess --i demo/run_half1_class001_unfil.mrc --o demo/post --auto_mask
"$clean/clrelion" report demo
test -s demo/run_report.html
test -s demo/post.mrc
echo "The wheel works: $(ls dist/*.whl)"
