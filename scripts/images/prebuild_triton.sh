#!/bin/sh
# Compile Triton's driver module, so that the image needs no compiler: prebuild_triton.sh SITE_PACKAGES TARGET
#
# Triton compiles it from driver.c at the first kernel. TARGET gets the module, the sha256 of its source, and cc,
# which Triton finds by the variable CC and which hands the module out (scripts/images/prebuilt_cc.sh).
set -eu
nvidia=$1/triton/backends/nvidia
target=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target"
include=$(python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
# The driver is the machine's own and not there yet; the module is to name it.
gcc -shared -o "$work/libcuda.so.1" -Wl,-soname,libcuda.so.1 -x c /dev/null
gcc "$nvidia/driver.c" -O3 -shared -fPIC -Wno-psabi -o "$target/cuda_utils.so" \
  -Wl,--no-as-needed "-L$work" -l:libcuda.so.1 "-I$nvidia/include" "-I$include"
sha256sum <"$nvidia/driver.c" | cut -c1-64 >"$target/driver.sha256"
install -m 0755 "$(dirname "$0")/prebuilt_cc.sh" "$target/cc"
