#!/usr/bin/env bash
# check_library.sh LIBRARY [BUILD_DIR|- [OTHER_LIBRARY]]: what a shipped library must not have. BUILD_DIR holds the CPU library's
# kernel units (- for a library without); OTHER_LIBRARY implements the same header, so it exports the same functions.
set -euo pipefail
library=$1
build=${2:--}
other=${3:-}
fail() { echo "check_library: $1" >&2; exit 1; }

foreign=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^ftc_' || true)
[ -z "$foreign" ] || fail "exports symbols other than ftc_*: $foreign"

exports() { nm -D --defined-only "$1" | awk '{print $3}' | sort; }
if [ -n "$other" ]; then
  difference=$(diff <(exports "$other") <(exports "$library") | grep '^[<>]' || true)
  [ -z "$difference" ] || fail "exports differ from those of $other: $difference"
fi

# Debian 12 and newer have 2.36.
newest=$(objdump -T "$library" | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -1)
[ "$(printf '%s\nGLIBC_2.36\n' "$newest" | sort -V | tail -1)" = GLIBC_2.36 ] || fail "needs $newest, expected at most GLIBC_2.36"

needed=$(objdump -p "$library" | awk '/NEEDED/ {print $2}')
for name in $needed; do
  case $name in
    libc.so.6 | libm.so.6 | ld-linux-x86-64.so.2 | libpthread.so.0 | libdl.so.2 | librt.so.1) ;;
    *) fail "links $name, expected only the C library" ;;
  esac
done
[ "$build" != - ] || exit 0

# A weak symbol of a kernel unit could replace the baseline's copy of the same function: illegal instruction on older CPUs.
# Weak symbols whose name holds the unit's own namespace are unique to it and harmless.
for isa in portable avx2 avx512 avx512bf16; do
  for object in $(find "$build/CMakeFiles/ftc_$isa.dir" -name '*.o'); do
    weak=$(nm "$object" | awk '$(NF-1) ~ /^[VWu]$/ {print $NF}' | grep -v "${#isa}$isa" || true)
    [ -z "$weak" ] || fail "$object has weak symbols that other units may share: $(echo "$weak" | c++filt | head -5)"
  done
done
