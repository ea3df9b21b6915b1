# make demo    set everything up and refine 92 real particles on the CPU
# make test    the tests, on PoCL, in two processes: most keep no more than a core busy
# make lint, make types, make parity, make bench
# make docs    the site, in site/
#
# Everything runs in a virtual environment of its own, .venv; PYTHON chooses its interpreter.

VENV := .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml tools/make_venv.sh
DEVICE ?= cpu

.PHONY: demo test lint types parity bench docs setup clean

demo: $(VENV)/.installed
	@tools/ensure_opencl.sh $(VENV) any >/dev/null
	@rm -rf demo
	$(BIN)/clrelion_refine --o demo/run --device $(DEVICE) \
	  --i examples/betagal/particles.star --ref examples/betagal/ref.mrc \
	  --auto_refine --split_random_halves --particle_diameter 200 --sym D2 \
	  --firstiter_cc --ini_high 40 --ctf --flatten_solvent --zero_mask --norm --scale \
	  --oversampling 1 --healpix_order 2 --auto_local_healpix_order 4 \
	  --offset_range 5 --offset_step 2 --low_resol_join_halves 40 --pad 2 --random_seed 42

test: setup
	@devices=$$(tools/ensure_opencl.sh $(VENV) pocl) && CLRELION_TEST_DEVICES="$$devices" \
	  $(BIN)/python -m pytest -q -m "not slow" -n 2 --dist worksteal

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

parity: setup
	@tools/ensure_opencl.sh $(VENV) any >/dev/null
	$(BIN)/python -m tools.parity --device $(DEVICE) $(ARGUMENTS)

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: setup
	@tools/ensure_opencl.sh $(VENV) any >/dev/null
	$(BIN)/python tools/bench_parity_sets.py --device $(DEVICE) $(ARGUMENTS)

setup: $(VENV)/.dev

$(VENV)/.installed: $(INPUTS)
	@tools/make_venv.sh $(VENV)
	@touch $@

$(VENV)/.dev: $(INPUTS)
	@tools/make_venv.sh $(VENV) dev,docs
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) demo build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
