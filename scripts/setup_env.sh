#!/usr/bin/env bash
# Build .venv once: Python, torch, vLLM and every other package, pinned.
#
# The CPU build is taken unless this machine has an NVIDIA GPU. Settings (environment):
#   PYTHON         the interpreter to use (3.11, 3.12 or 3.13)
#   VALIGN_BUILD   cpu or gpu, instead of looking for a GPU
#   VALIGN_VENV    where the environment goes (default: .venv)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${VALIGN_VENV:-.venv}
torch_version=2.13.0
torch_cpu_index=https://download.pytorch.org/whl/cpu

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

build=${VALIGN_BUILD:-}
if [ -z "$build" ]; then
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then build=gpu; else build=cpu; fi
fi
case $build in cpu | gpu) ;; *) die "VALIGN_BUILD is '$build'; it must be cpu or gpu" ;; esac

stamp="$venv/.valign-$build-$(cat requirements/*.txt scripts/setup_env.sh | sha256sum | cut -c1-16)"
[ -e "$stamp" ] && exit 0

find_python() {
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
}
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

python=$(find_python)
if [ -z "$python" ] && command -v apt-get >/dev/null; then
  say "Installing Python"
  as_root apt-get update -q && as_root apt-get install -qy python3 python3-venv
  python=$(find_python)
fi
[ -n "$python" ] || die "no Python 3.11, 3.12 or 3.13 found; install one, or name it: make setup PYTHON=/path/to/python"

say "Building $venv ($build build, $($python --version))"
if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then die "$venv exists and is no virtual environment; not touched"; fi
rm -rf "$venv"
if ! "$python" -m venv "$venv" 2>/dev/null; then
  command -v apt-get >/dev/null || die "'$python -m venv' failed; install your system's python3-venv package"
  as_root apt-get update -q && as_root apt-get install -qy python3-venv
  rm -rf "$venv" && "$python" -m venv "$venv"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install -q 'pip==26.3'

if [ "$build" = cpu ]; then
  # Of PyPI's torch the plain version is a CUDA build; the local label asks for the CPU build alone, which
  # is on PyTorch's own index unless pip is configured to know another place.
  say "Installing torch $torch_version for CPUs"
  pip install -q --progress-bar off "torch==$torch_version+cpu" 2>/dev/null ||
    pip install -q --progress-bar off "torch==$torch_version" --index-url "$torch_cpu_index" ||
    die "torch $torch_version for CPUs is neither at pip's configured places nor at $torch_cpu_index"
  # --no-deps: the pins are complete, and vLLM's own dependencies would bring a torchvision that does not
  # fit this torch and breaks the import of transformers' models.
  say "Installing vLLM and $(grep -c == requirements/common.txt) packages (a few minutes)"
  pip install -q --progress-bar off --no-deps -r requirements/cpu.txt
else
  say "Installing vLLM with CUDA and $(grep -c == requirements/common.txt) packages (several minutes)"
  pip install -q --progress-bar off -r requirements/gpu.txt
fi
pip install -q --no-deps --no-build-isolation -e . 2>/dev/null || pip install -q --no-deps -e .
touch "$stamp"
say "Environment ready: $venv"
