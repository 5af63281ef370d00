#!/usr/bin/env bash
# Builds, tests and runs FineTuneCore on Linux. ./build.sh help lists the verbs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$PWD
configuration=${FTC_CONFIGURATION:-Release}
cuda=${FTC_CUDA:-AUTO}

usage() {
    cat <<'EOF'
usage: ./build.sh VERB [options]

  quickstart        builds, then fine-tunes the bundled tiny model on the bundled chats: the two-minute tour
  test [--sanitize] [--consumers] builds and runs every test; --sanitize runs the native ones under ASan and UBSan as well, --consumers the
                    consumers of the packages
  native            builds native/build/release/libftc.so, and libftc_cuda.so where there is a CUDA compiler
  managed           builds the .NET solution
  traffic           writes benchmarks/results/sim: bytes, sectors and bank conflicts of the CUDA kernels, counted on the simulator
  kernel-report     writes benchmarks/results/static: registers, occupancy, loads of every CUDA kernel as compiled
  bench             times the kernels of this machine and prints their share of its peak
  bench cpu [--rows step,busy,qlora,nf4,matmul] [--pairs N] [--allow-load] holds the CPU trainer against TorchSharp, in strict pairs on a quiet machine
  bench convergence [DIR] trains the quickstart's model in fp32 and in bf16 and holds the validation losses against each other
  bench scale [--rows model,load,context,dataset] trains a model of half a billion weights, long contexts and large datasets: speed and memory
  bench binding     what a call costs from .NET over the same call from C++
  bench ops [--filter 'lora*' ...] [--sides NAME ...] [--check] [--list] [--allow-load] kernel against kernel: every op on every backend of this
                    machine and in TorchSharp, and what .NET adds to it; bench --filter ... is short for it
  tiny-base [DIR]   makes the model of the quickstart again, in about a quarter of an hour; DIR keeps corpus and checkpoints
  gpu-bundle [--dry-run] gathers what a bare GPU machine needs into artifacts/gpu-bundle; gpu-run.sh in it builds, proves and measures there
  cross [--full]    builds for Windows x64 and Linux arm64, tests the native library and trains under Wine and qemu-user (Debian, x64)
  pack              packs the NuGet packages and the ftc tool into artifacts/packages
  consumers [--stranger] [NAME...] packs, then runs tests/consumers, which know the packages alone; --stranger with empty caches
  all               native, managed, test, pack

FTC_CUDA=AUTO|ON|OFF says whether the CUDA library is built: where nvcc 12.4 or newer is found (AUTO, the default), always, with
nvcc installed where this is Debian 12 and we are root (ON), or not at all (OFF). Its kernels run on the simulator either way.
EOF
}

say() { printf '\n== %s\n' "$*"; }

# Installs Debian packages where we may; otherwise says the one line to run.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        local package=$1 probe=$2
        shift 2
        eval "$probe" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -q "${missing[@]}" >/dev/null 2>&1 || { apt-get update -q >/dev/null && apt-get install -y -q "${missing[@]}" >/dev/null; }
    else
        echo "missing: ${missing[*]}. Install with: sudo apt-get install -y ${missing[*]}" >&2
        exit 1
    fi
}

require_dotnet() {
    if ! command -v dotnet >/dev/null; then
        echo "the .NET SDK 10 is missing. Install it from https://dot.net, or on Debian and Ubuntu with its package feed: sudo apt-get install -y dotnet-sdk-10.0" >&2
        exit 1
    fi
}

# FTC_CUDA=ON insists on nvcc: installs it where we may, otherwise says the one line to run.
cuda_toolkit() {
    [ "$cuda" = ON ] && [ -z "$(cmake -P cmake/find_nvcc.cmake)" ] || return 0
    if [ "$(id -u)" -eq 0 ] && grep -q '^12' /etc/debian_version 2>/dev/null; then
        say "installing the CUDA compiler into /opt/cuda-12.4"
        bash cmake/install-cuda-debian.sh
    else
        echo "FTC_CUDA=ON, but no nvcc 12.4 or newer was found. Point CUDACXX at one, or on Debian 12: sudo bash cmake/install-cuda-debian.sh" >&2
        exit 1
    fi
}

native() {
    need g++ "command -v g++" cmake "command -v cmake" ninja-build "command -v ninja" binutils "command -v nm" \
        libhwy-dev "test -e /usr/include/hwy/highway.h" libgtest-dev "test -e /usr/include/gtest/gtest.h"
    cuda_toolkit
    say "native library"
    local options=()
    [ "${1:-release}" = release ] && options=("-DFTC_CUDA=$cuda")
    (cd native && cmake --preset "${1:-release}" "${options[@]}" >/dev/null && cmake --build --preset "${1:-release}")
}

managed() {
    require_dotnet
    say "managed solution ($configuration)"
    dotnet build FineTuneCore.sln -c "$configuration" -v quiet -nologo
}

ftc() { dotnet "$root/managed/FineTuneCore.Cli/bin/$configuration/net10.0/ftc.dll" "$@"; }

passed=0 failed=0 skipped=0 broken=0

# add NAME LOG EXIT PASSED FAILED SKIPPED: adds one runner's figures; a runner that died without figures counts as a failure.
add() {
    local name=$1 code=$2 p=${3:-} f=${4:-0} s=${5:-0}
    if [ -z "$p" ] || { [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; }; then
        echo "$name did not end properly (exit code $code)"
        p=${p:-0} f=$((f + 1)) broken=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# google_tests NAME PROGRAM [ARGUMENT...]: PROGRAM may be what runs a test program of another platform.
google_tests() {
    local name=$1 program=$2 log code=0
    shift 2
    say "$name"
    log=$(mktemp)
    "$program" "$@" --gtest_brief=1 >"$log" 2>&1 || code=$?
    cat "$log"
    add "$name" "$code" "$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log")" \
        "$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$log" | head -1)" "$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p' "$log" | head -1)"
    rm -f "$log"
}

# The prefix with an OpenCL device that needs no GPU; empty where it cannot be made, which is said here and makes the tests of OpenCL skips.
opencl_prefix() {
    local prefix=${XDG_CACHE_HOME:-$HOME/.cache}/finetunecore/pocl-6
    if bash cmake/install-pocl-debian.sh "$prefix" >&2; then
        echo "$prefix"
    else
        echo "no OpenCL device for the tests: they are skipped, unless this machine has a GPU with OpenCL" >&2
    fi
}

# Runs a .NET program with the OpenCL device of the prefix: its host has a newer loader, so that `dotnet` itself does not do.
with_opencl() {
    local prefix=$1
    shift
    OCL_ICD_VENDORS=$prefix/vendors POCL_CACHE_DIR=$prefix/cache "$prefix/dotnet/dotnet" exec "$@"
}

# xunit_tests PROJECT [PREFIX]: with the OpenCL device of a prefix where one is named.
xunit_tests() {
    local project=$1 prefix=${2:-} name log code=0 line fails skips
    local run=(dotnet exec)
    [ -z "$prefix" ] || run=(with_opencl "$prefix")
    name=$(basename "$project")
    say "$name"
    log=$(mktemp)
    "${run[@]}" "$project/bin/$configuration/net10.0/$name.dll" -noColor -noLogo >"$log" 2>&1 || code=$?
    grep -vE '^  (Discover|Start|Finish)' "$log" || true
    line=$(grep -E 'Total: [0-9]+, Errors: ' "$log" | tail -1 || true)
    figure() { sed -n "s/.*$1: \([0-9]*\),.*/\1/p" <<<"$line"; }
    if [ -n "$line" ]; then
        fails=$(figure Failed) skips=$(figure Skipped)
        # Explicit tests (they write goldens) are in the total but do not run.
        add "$name" "$code" $(($(figure Total) - fails - skips - $(figure 'Not Run'))) $((fails + $(figure Errors))) "$skips"
    else
        add "$name" "$code"
    fi
    rm -f "$log"
}

# Holds `ftc inspect` against reference results, where a folder with them lies beside the repository.
parity() {
    local data=${FTC_TEST_DATA:-$root/../shared/data} script log code=0 line
    script=$(dirname "$data")/checks/parity.py
    say "parity of ftc inspect"
    if [ ! -f "$script" ] || ! command -v python3 >/dev/null; then
        echo "skipped: no reference results at hand ($script)"
        skipped=$((skipped + 1))
        return
    fi
    log=$(mktemp)
    python3 "$script" --ftc "dotnet $root/managed/FineTuneCore.Cli/bin/$configuration/net10.0/ftc.dll" --data "$data" >"$log" 2>&1 || code=$?
    cat "$log"
    line=$(tail -1 "$log")
    add parity "$code" "$(sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p' <<<"$line")" "$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p' <<<"$line")"
    rm -f "$log"
}

# What the simulator makes of every PTX wrapper, against what a GPU is held against.
conformance() {
    local log code=0
    say "PTX wrappers"
    log=$(native/build/release/ptx_conformance_sim --check tests/golden/ptx/conformance.txt) || code=$?
    echo "$log"
    add "ptx_conformance_sim" "$code" "$(sed -n 's/^\([0-9]*\) passed, .*/\1/p' <<<"$log")" "$(sed -n 's/.* \([0-9]*\) failed, .*/\1/p' <<<"$log")"
}

# kernel_report --check | --write: what the CUDA kernels were compiled to, against cmake/kernel_expectations.json and the table.
kernel_report() {
    need python3 "command -v python3"
    python3 cmake/kernel_report.py native/build/release/libftc_cuda.so --cuobjdump "$(dirname "$(cmake -P cmake/find_nvcc.cmake)")/cuobjdump" \
        "$1" benchmarks/results/static
}

check_kernels() {
    local code=0
    [ "$cuda" != OFF ] && [ -n "$(cmake -P cmake/find_nvcc.cmake)" ] || return 0
    say "CUDA kernels as compiled"
    kernel_report --check || code=1
    add "kernel report" 0 $((1 - code)) $code
}

run_tests() {
    local sanitize=0 with_consumers=0
    for option in "$@"; do
        case $option in
            --sanitize) sanitize=1 ;;
            --consumers) with_consumers=1 ;;
            *) echo "unknown option of test: $option, expected --sanitize or --consumers" >&2; exit 2 ;;
        esac
    done
    native
    managed
    google_tests "native tests" native/build/release/ftc_tests
    google_tests "the simulator's own tests" native/build/release/simt_tests
    google_tests "CUDA kernels on the simulator" native/build/release/ftc_cuda_tests
    google_tests "memory traffic of the CUDA kernels" native/build/release/ftc_traffic_tests
    conformance
    check_kernels
    if [ $sanitize -eq 1 ]; then
        native sanitize
        google_tests "native tests under ASan and UBSan" native/build/sanitize/ftc_tests
    fi
    for project in tests/bindings/*.Tests tests/managed/*.Tests tests/benchmarks/*.Tests; do
        case $project in
            *Conformance.Tests) xunit_tests "$project" "$(opencl_prefix)" ;;
            *) xunit_tests "$project" ;;
        esac
    done
    parity
    if [ $with_consumers -eq 1 ]; then
        if pack; then consumers || true; else add packages 1 0 1; fi
    fi
    echo
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ] && [ $broken -eq 0 ] && [ $passed -gt 0 ]
}

# publish_for RID: ftc for another platform, everything inside.
publish_for() {
    rm -rf "artifacts/cross/$1"
    dotnet publish managed/FineTuneCore.Cli -c "$configuration" -p:FtcPlatform="$1" -o "artifacts/cross/$1" -v quiet -nologo
}

# same_losses PLATFORM WHAT PROGRAM...: a training there, WHAT=quickstart or a few steps of it, must have the losses it has here.
same_losses() {
    local platform=$1 what=$2 folder code=0
    shift 2
    folder=$root/artifacts/cross/$what-$platform
    local options=(quickstart)
    [ "$what" = quickstart ] || options=(train --method qlora --max-steps 12 --sequence-length 256 --micro-batch-size 2 --validation-fraction 0
        --model "$root/managed/FineTuneCore.Cli/Quickstart/tiny-base" --data "$root/managed/FineTuneCore.Cli/Quickstart/data/support_chats.jsonl")
    say "$what on $platform"
    rm -rf "$folder" && mkdir -p "$folder"
    (cd "$folder" && "$@" "${options[@]}" --output run) || code=$?
    [ $code -ne 0 ] || [ "$platform" = linux-x64 ] || python3 cmake/compare_losses.py "$root/artifacts/cross/$what-linux-x64/run" "$folder/run" || code=$?
    add "$what on $platform" 0 $((code == 0)) $((code != 0))
}

# Other platforms from Debian x64; --full: the whole quickstart under qemu, too, which takes one to two hours. Wine 8 does not
# survive .NET's keeping writable and executable pages apart; Windows does.
cross() {
    local wine=/usr/lib/wine/wine64 cpu what=steps here=(dotnet "$root/managed/FineTuneCore.Cli/bin/$configuration/net10.0/ftc.dll")
    case ${1:-} in
        '') ;;
        --full) what=quickstart ;;
        *) echo "unknown option of cross: $1, expected --full" >&2; exit 2 ;;
    esac
    native
    managed
    need g++-mingw-w64-x86-64-posix "command -v x86_64-w64-mingw32-g++-posix" wine64 "test -x $wine" \
        g++-aarch64-linux-gnu "command -v aarch64-linux-gnu-g++" qemu-user-static "command -v qemu-aarch64-static" \
        googletest "test -e /usr/src/googletest/googletest/src/gtest-all.cc" python3 "command -v python3"
    export WINEPREFIX=$root/artifacts/cross/wine WINEDEBUG=-all DISPLAY='' DOTNET_EnableWriteXorExecute=0
    mkdir -p artifacts/cross
    for preset in win-x64 linux-arm64; do
        say "native library for $preset"
        (cd native && cmake --preset $preset >/dev/null && cmake --build --preset $preset)
    done
    $wine wineboot -i >/dev/null 2>&1
    google_tests "native tests on win-x64 (Wine)" $wine native/build/win-x64/ftc_tests.exe
    for cpu in max cortex-a72; do
        google_tests "native tests on linux-arm64 (qemu, $cpu)" qemu-aarch64-static -cpu $cpu -L /usr/aarch64-linux-gnu native/build/linux-arm64/ftc_tests
    done
    publish_for win-x64
    publish_for linux-arm64
    same_losses linux-x64 quickstart "${here[@]}"
    [ $what = quickstart ] || same_losses linux-x64 $what "${here[@]}"
    same_losses win-x64 quickstart $wine "$root/artifacts/cross/win-x64/ftc.exe"
    bash cmake/fetch-libssl-arm64.sh artifacts/cross/libssl-arm64
    same_losses linux-arm64 $what qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu \
        -E LD_LIBRARY_PATH="$root/artifacts/cross/libssl-arm64/usr/lib/aarch64-linux-gnu" "$root/artifacts/cross/linux-arm64/ftc"
    echo
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ] && [ $broken -eq 0 ]
}

# What is packed, each a project of its own. Runtime.Cuda only where its library was built.
packages=(bindings/FineTuneCore.Native bindings/Runtime/Cpu managed/FineTuneCore managed/FineTuneCore.Ilgpu managed/FineTuneCore.Cli)

pack() {
    local project file platform total=0
    say "packages"
    if [ -f native/build/release/libftc_cuda.so ]; then packages+=(bindings/Runtime/Cuda); else
        echo "no FineTuneCore.Runtime.Cuda, and no CUDA in the tool: libftc_cuda.so was not built (FTC_CUDA=ON ./build.sh pack insists on it)"
        [ "$cuda" != ON ] || return 1
    fi
    for platform in linux-arm64 win-x64; do
        [ -d "native/build/$platform" ] || echo "no native files for $platform in the packages: native/build/$platform was not built"
    done
    # The commit's time in every file of a package: two packs of one commit are equal to the byte.
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1000000000)}
    rm -rf artifacts/packages
    for project in "${packages[@]}"; do
        dotnet pack "$project" -c "$configuration" -o artifacts/packages -v quiet -nologo || return 1
    done
    for file in artifacts/packages/*.nupkg; do
        printf '%7.2f MB  %s\n' "$(bytes_in_mb "$(stat -c %s "$file")")" "$(basename "$file")"
        total=$((total + $(stat -c %s "$file")))
    done
    printf '%7.2f MB  together\n' "$(bytes_in_mb "$total")"
    at_most 10 artifacts/packages/FineTuneCore.Runtime.Cpu.*.nupkg || return 1
    [ ! -f native/build/release/libftc_cuda.so ] || at_most 60 artifacts/packages/FineTuneCore.Runtime.Cuda.*.nupkg || return 1
    at_most 100 artifacts/packages/*.nupkg
}

bytes_in_mb() { awk -v bytes="$1" 'BEGIN { printf "%.6f", bytes / 1e6 }'; }

# at_most MB FILE...: fails when the files together are larger.
at_most() {
    local limit=$1 total
    shift
    total=$(stat -c %s "$@" | awk '{ sum += $1 } END { print sum }')
    [ "$total" -le $((limit * 1000000)) ] || { echo "$(basename "$1")${2:+ and others}: $total bytes, expected at most $limit MB" >&2; return 1; }
}

# consumers [--stranger] [NAME...]: programs that know FineTuneCore as packages alone.
consumers() {
    local log code=0 line
    log=$(mktemp)
    tests/consumers/run.sh artifacts/packages "$@" 2>&1 | tee "$log" || code=$?
    line=$(tail -1 "$log")
    add consumers "$code" "$(sed -n 's/^\([0-9]*\) passed, .*/\1/p' <<<"$line")" "$(sed -n 's/.* \([0-9]*\) failed, .*/\1/p' <<<"$line")" \
        "$(sed -n 's/.* \([0-9]*\) skipped$/\1/p' <<<"$line")"
    rm -f "$log"
    [ "$code" -eq 0 ]
}

# bench [threads] [rounds] [filter]: the native runners. bench cpu [...]: training step and products against TorchSharp.
# bench scale [...]: large models, contexts and datasets through ftc train.
# bench convergence [DIR]: validation losses in bf16 against fp32's.
# bench binding: a call from .NET against one from C++.
# bench ops [...], bench --filter PATTERN...: kernel against kernel, every op on every backend of this machine and TorchSharp.
bench() {
    local program=benchmarks/FineTuneCore.Benchmarks/bin/Release/net10.0/FineTuneCore.Benchmarks.dll prefix
    native
    case ${1:-} in
        cpu | scale | binding | ops | --*)
            require_dotnet
            say "benchmark programs"
            [ "$1" != cpu ] || dotnet build benchmarks/FineTuneCore.TorchPeer -c Release -v quiet -nologo
            dotnet build benchmarks/FineTuneCore.Benchmarks -c Release -v quiet -nologo
            case $1 in
                ops | --*)
                    [ "$1" != ops ] || shift
                    # Without the peer or without OpenCL the other sides are compared; the tables say why.
                    dotnet build benchmarks/FineTuneCore.TorchPeer -c Release -v quiet -nologo || echo "the TorchSharp peer does not build"
                    prefix=$(opencl_prefix)
                    dotnet $program ops "$@" ${prefix:+--ocl-prefix "$prefix"}
                    ;;
                scale) managed; dotnet $program "$@" ;;
                *) dotnet $program "$@" ;;
            esac
            ;;
        convergence)
            managed
            need python3 "command -v python3"
            python3 benchmarks/bf16_convergence.py "dotnet managed/FineTuneCore.Cli/bin/$configuration/net10.0/ftc.dll" "${2:-artifacts/bench}" --check
            ;;
        *)
            native/build/release/ftc_bench "$@"
            native/build/release/ftc_ops_bench "$@"
            ;;
    esac
}

# Writes the quickstart's chats, and its base model trained from nothing.
tiny_base() {
    native
    require_dotnet
    dotnet build managed/FineTuneCore.TinyBase -c "$configuration" -v quiet -nologo
    dotnet "managed/FineTuneCore.TinyBase/bin/$configuration/net10.0/tiny-base.dll" "${1:-artifacts/tiny-base}" managed/FineTuneCore.Cli/Quickstart
}

verb=${1:-help}
[ $# -gt 0 ] && shift
case $verb in
    native) native ;;
    managed) managed ;;
    quickstart) native; managed; ftc quickstart "$@" ;;
    test) run_tests "$@" ;;
    gpu-bundle)
        native
        managed
        need googletest "test -e /usr/src/googletest/googletest/src/gtest-all.cc" xz-utils "command -v xz"
        say "GPU bundle"
        benchmarks/gpu-bundle.sh
        [ "${1:-}" != --dry-run ] || artifacts/gpu-bundle/gpu-run.sh --dry-run --seconds 3600
        ;;
    kernel-report) native; kernel_report --write ;;
    traffic) native; FTC_WRITE_TRAFFIC=1 native/build/release/ftc_traffic_tests --gtest_filter='TrafficTable.*' ;;
    bench) case ${1:-} in -h | --help) usage ;; *) bench "$@" ;; esac ;;
    tiny-base) tiny_base "$@" ;;
    cross) cross "$@" ;;
    pack) pack ;;

    pack) native; require_dotnet; pack ;;
    consumers) native; require_dotnet; pack; consumers "$@" ;;
    all) run_tests; pack ;;
    help | -h | --help) usage ;;
    *) echo "unknown verb: $verb" >&2; usage >&2; exit 2 ;;
esac
