#!/usr/bin/env bash
# check_cuda_sources.sh SOURCE_DIR: rules of the CUDA sources that no compiler checks.
set -euo pipefail
cd "$1"
status=0
# refuse WHY PATTERN FILES...: no line of FILES may match; a comment may.
refuse() {
  local why=$1 pattern=$2 found
  shift 2
  [ $# -gt 0 ] || return 0
  found=$(grep -nHE "$pattern" "$@" | grep -vE '^[^:]*:[0-9]*: *//' || true)
  [ -z "$found" ] && return 0
  printf 'check_cuda_sources: %s:\n%s\n' "$why" "$found" >&2
  status=1
}

mapfile -t headers < <(find . -name '*.cuh' -o -name '*_cuda.h' -o -path './cuda/*.h' | sort)
mapfile -t all < <(printf '%s\n' "${headers[@]}"; find . -name '*.cu' -o -path './cuda/*.cpp' | sort)
mapfile -t others < <(printf '%s\n' "${all[@]}" | grep -vE '^./cuda/device(_sm90a)?.cuh$')

refuse "inline PTX belongs into cuda/device.cuh and device_sm90a.cuh, where the simulator has its twin" '\basm\b *(volatile)? *\(' "${others[@]}"
refuse "the compiler's architecture is read in cuda/device.cuh only; test FTC_HAS_SM90A" '__CUDA_ARCH' "${others[@]}"
refuse "kernels are launched by FTC_LAUNCH, which the simulator understands" '<<<' "${others[@]}"
# nvcc 13 gives the stub of a kernel template internal linkage, so a kernel declared here and defined elsewhere is not found.
for file in "${all[@]}"; do
  if grep -qPz '__global__[^;{]*;' "$file" || grep -q 'extern template' "$file"; then
    echo "check_cuda_sources: $file declares a kernel without its body; a kernel is launched from the file that holds it" >&2
    status=1
  fi
done
exit $status
