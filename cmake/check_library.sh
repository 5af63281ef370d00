#!/usr/bin/env bash
# check_library.sh LIBRARY [BUILD_DIR|- [OTHER_LIBRARY]]: what a shipped library must not have. BUILD_DIR holds the CPU library's
# kernel units (- for a library without) of the instruction sets in FTC_ISAS (separated by ;); OTHER_LIBRARY implements the same header,
# so it exports the same functions. NM and OBJDUMP name the binutils of the library's platform.
set -euo pipefail
library=$1
build=${2:--}
other=${3:-}
nm=${NM:-nm}
objdump=${OBJDUMP:-objdump}
fail() { echo "check_library: $1" >&2; exit 1; }

windows=0
[[ $library != *.dll ]] || windows=1

exports() {
  if [ $windows -eq 1 ]; then
    "$objdump" -p "$1" | awk '/Ordinal\/Name Pointer/ {on = 1; next} on && NF == 0 {on = 0} on {print $NF}' | sort
  else
    "$nm" -D --defined-only "$1" | awk '{print $3}' | sort
  fi
}
all=$(exports "$library")
[ -n "$all" ] || fail "exports nothing"
foreign=$(grep -v '^ftc_' <<<"$all" || true)
[ -z "$foreign" ] || fail "exports symbols other than ftc_*: $foreign"

if [ -n "$other" ]; then
  difference=$(diff <(exports "$other") <(exports "$library") | grep '^[<>]' || true)
  [ -z "$difference" ] || fail "exports differ from those of $other: $difference"
fi

if [ $windows -eq 1 ]; then
  for name in $("$objdump" -p "$library" | awk '/DLL Name:/ {print tolower($3)}'); do
    case $name in
      kernel32.dll | msvcrt.dll | api-ms-win-core-synch-l1-2-0.dll) ;; # Windows 8 and newer
      *) fail "links $name, expected only what Windows brings" ;;
    esac
  done
else
  # Debian 12 and newer have 2.36.
  newest=$("$objdump" -T "$library" | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -1)
  [ "$(printf '%s\nGLIBC_2.36\n' "$newest" | sort -V | tail -1)" = GLIBC_2.36 ] || fail "needs $newest, expected at most GLIBC_2.36"

  for name in $("$objdump" -p "$library" | awk '/NEEDED/ {print $2}'); do
    case $name in
      libc.so.6 | libm.so.6 | ld-linux-x86-64.so.2 | ld-linux-aarch64.so.1 | libpthread.so.0 | libdl.so.2 | librt.so.1) ;;
      *) fail "links $name, expected only the C library" ;;
    esac
  done
fi
[ "$build" != - ] || exit 0

# A weak symbol of a kernel unit could replace the baseline's copy of the same function: illegal instruction on older CPUs.
# Weak symbols whose name holds the unit's own namespace are unique to it and harmless.
for isa in ${FTC_ISAS//;/ }; do
  for object in $(find "$build/CMakeFiles/ftc_$isa.dir" -name '*.o' -o -name '*.obj'); do
    weak=$("$nm" "$object" | awk '$(NF-1) ~ /^[VWu]$/ {print $NF}' | grep -v "${#isa}$isa" || true)
    [ -z "$weak" ] || fail "$object has weak symbols that other units may share: $(echo "$weak" | c++filt | head -5)"
  done
done
