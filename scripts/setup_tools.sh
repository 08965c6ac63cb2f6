#!/usr/bin/env bash
# Install, once, the programs that tests and `make stack` start beside the services: Chromium and Prometheus
# (with promtool). Debian and Ubuntu; elsewhere, or without root, the missing ones are named and nothing is done.
set -euo pipefail

declare -A package=([chromium]=chromium [prometheus]=prometheus [promtool]=prometheus)
missing=()
for program in chromium prometheus promtool; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} = 0 ] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

remedy="apt-get install --no-install-recommends ${missing[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
    echo "tools: ${missing[*]} missing, and no root here: the tests that need them will say so. Remedy: sudo $remedy" >&2
    exit 0
  fi
  as_root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
else
  as_root=(env DEBIAN_FRONTEND=noninteractive)
fi
if ! command -v apt-get >/dev/null; then
  echo "tools: ${missing[*]} missing, and no apt-get here: install them by your system's own means" >&2
  exit 0
fi
printf '\033[1m==> Installing %s\033[0m\n' "${missing[*]}"
# A policy of exit status 101 keeps the packages' own services from starting.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  "${as_root[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -q && "${as_root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  echo "tools: $remedy failed; the tests that need them will say so" >&2
fi
rm -f "$log"
