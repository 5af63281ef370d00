#!/usr/bin/env bash
# gpu-run.sh [--dry-run] [--seconds N] [--again] [STAGE...]: builds, proves and measures FineTuneCore on a machine with an NVIDIA GPU.
#
# Works through the stages below, most telling first, until N seconds (540) are over; called again it goes on with what is left, so
# that short leases of a machine add up. A stage takes at most 8 minutes, all of them about 25. Needs nvcc, CMake, ninja and Python with
# PyTorch; everything else comes out of gpu-bundle.tar.xz beside this script (./build.sh gpu-bundle makes it).
#
# Results, seven files, go to $OUT or ./results: results.md and results.json first, then what they were made from.
# --dry-run goes the whole way on a machine without a GPU: kernels are compiled, and run on the simulator on small shapes.
# --again does stages that failed once more.  A stage whose program does not exist yet is listed as absent, never passed.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

stages=(environment build conformance kernels op-tests peer-linear peer-nf4 end-to-end-ftc end-to-end-peft peer-attention peer-cross-entropy
    managed-tests memcheck racecheck streaming)
# The most seconds a stage may take; it is begun when at least a third of them is left.
declare -A limit=([environment]=30 [build]=480 [conformance]=30 [kernels]=300 [op-tests]=300 [peer-linear]=240 [peer-nf4]=240
    [end-to-end-ftc]=480 [end-to-end-peft]=300 [peer-attention]=180 [peer-cross-entropy]=180 [managed-tests]=240 [memcheck]=300
    [racecheck]=300 [streaming]=480)

dry=0 again=0 seconds=540 wanted=()
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=1 ;;
        --again) again=1 ;;
        --seconds) seconds=${2:?--seconds needs a number}; shift ;;
        -*) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
        *)
            [ -n "${limit[$1]:-}" ] || { echo "unknown stage: $1, expected one of: ${stages[*]}" >&2; exit 2; }
            wanted+=("$1") ;;
    esac
    shift
done
if [ $dry -eq 1 ]; then # few cores, and more to compile
    for stage in "${stages[@]}"; do limit[$stage]=$((5 * limit[$stage])); done
fi
[ ${#wanted[@]} -gt 0 ] || wanted=("${stages[@]}")
began=$SECONDS
left() { echo $((seconds - (SECONDS - began))); }

# ---- Unpack, once for each bundle.
archive=$here/gpu-bundle.tar.xz
[ -e "$archive" ] || archive=$here/../artifacts/gpu-bundle/gpu-bundle.tar.xz
[ -e "$archive" ] || { echo "gpu-bundle.tar.xz is not beside this script; make it with ./build.sh gpu-bundle" >&2; exit 2; }
key=$(md5sum <"$archive" | cut -c1-12)
work=${FTC_GPU_WORK:-/var/tmp/ftc-gpu-$key}
[ $dry -eq 0 ] || work=$work-dry
results=$work/results out=${OUT:-$PWD/results}
mkdir -p "$work/done" "$results" "$out"
if [ ! -e "$work/.unpacked" ]; then
    # Not every tar finds xz; Python has it built in.
    tar -C "$work" -xJf "$archive" 2>/dev/null || python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2])' "$archive" "$work" || exit 1
    touch "$work/.unpacked"
fi
source=$work/source build=$work/build
library=$build/libftc_cuda.so
python=python3
for candidate in python3 /usr/bin/python3; do "$candidate" -c 'import torch' 2>/dev/null && { python=$candidate; break; }; done
export FTC_CUDA_LIBRARY_PATH=$library
[ ! -d "$work/data" ] || export FTC_TEST_DATA=$work/data

# ---- The stages. Each answers 0: passed, 77: absent, anything else: failed.
absent() { echo "absent: $*"; return 77; }

stage_environment() {
    {
        echo "commit: $(tr '\n' ' ' <"$source/COMMIT")"
        echo "date: $(date -u +%FT%TZ)"
        echo "mode: $([ $dry -eq 1 ] && echo 'dry run, no GPU' || echo GPU)"
        echo "machine: $(uname -sr), $(nproc) cores, $(awk '/MemTotal/ {printf "%d GiB", $2 / 1048576}' /proc/meminfo)"
        echo "nvcc: $(nvcc_path >/dev/null && "$(nvcc_path)" --version | tail -n 2 | head -n 1)"
        echo "cmake: $(cmake --version | head -n 1); python: $("$python" --version 2>&1)"
        nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu,mig.mode.current --format=csv 2>&1
    } | tee "$results/environment.txt"
    [ $dry -eq 1 ] || nvidia-smi >/dev/null 2>&1
}

nvcc_path() {
    local found
    found=$(cmake -P "$source/cmake/find_nvcc.cmake")
    [ -n "$found" ] && echo "$found"
}

stage_build() {
    local architecture=90 simulator=OFF
    [ $dry -eq 1 ] && simulator=ON
    # sm_90 for an H100 or H200; whatever is there otherwise.
    if [ $dry -eq 0 ]; then
        architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
    fi
    cmake -G Ninja -S "$source/native" -B "$build" -DCMAKE_BUILD_TYPE=Release -DFTC_BUILD_CPU=OFF -DFTC_BUILD_SIMULATOR=$simulator \
        -DFTC_CHECK_LIBRARIES=OFF -DFTC_WARNINGS_AS_ERRORS=OFF -DFTC_CUDA=ON -DFTC_CUDA_ARCHITECTURES="$architecture" -DFTC_GOOGLETEST="$work/googletest" &&
        cmake --build "$build" -j "$(nproc)"
}

# program GPU_NAME SIMULATOR_NAME: the one of this run.
program() { [ $dry -eq 1 ] && echo "$build/$2" || echo "$build/$1"; }

stage_conformance() { "$(program ptx_conformance ptx_conformance_sim)" --check "$source/tests/golden/ptx/conformance.txt"; }

stage_op-tests() {
    local filter='*'
    [ $dry -eq 1 ] && filter='*Convert*:*Embedding*:*Rope*:*Swiglu*:*Errors*'
    "$(program ftc_cuda_gpu_tests ftc_cuda_tests)" --gtest_brief=1 --gtest_filter="$filter"
}

stage_kernels() {
    local options=()
    [ $dry -eq 1 ] && options=(--tiny)
    "$(program ftc_cuda_bench ftc_cuda_sim_bench)" "${options[@]}" | rows native
}

# rows STAGE: shows everything, and keeps JSON lines as measurements at once, so that a stage cut short leaves what it had.
rows() {
    awk -v stage="$1" -v file="$results/measurements.jsonl" \
        '{ print; fflush() } /^{/ { sub(/^{/, "{\"stage\": \"" stage "\", "); print >> file; fflush(file) }'
}

peer() {
    "$python" -c 'import torch' 2>/dev/null || { absent "PyTorch is not installed"; return; }
    local options=() path=$library
    [ $dry -eq 1 ] && options=(--tiny) path=$(cpu_library)
    (cd "$source/benchmarks/peers" && FTC_LIBRARY_PATH=$path "$python" "$1.py" "${options[@]}") 2>&1 | rows "peer-$1"
    return "${PIPESTATUS[0]}"
}
cpu_library() { find "$source/dotnet" -name libftc.so | head -n 1; }
stage_peer-linear() { peer linear; }
stage_peer-nf4() { peer nf4; }
stage_peer-attention() { peer attention; }
stage_peer-cross-entropy() { peer cross_entropy; }

end_to_end() {
    "$python" -c 'import torch' 2>/dev/null || { absent "PyTorch is not installed"; return; }
    local options=() models=/dev/shm/ftc-gpu
    # The models are 16 and 40 GB: in memory where that is plenty, on disk otherwise.
    [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -gt 70000000 ] 2>/dev/null || models=$work/models
    [ $dry -eq 1 ] && options=(--tiny) models=$work/models
    (cd "$source/benchmarks/peers" && env -u FTC_TEST_DATA "$python" end_to_end.py "$1" "$models" --ftc "$source/dotnet/ftc" --tokenizer "$source" "${options[@]}") 2>&1 |
        rows end-to-end
    return "${PIPESTATUS[0]}"
}
stage_end-to-end-ftc() { end_to_end ftc; }
stage_end-to-end-peft() { end_to_end peft; }
stage_streaming() { end_to_end streaming; }

stage_managed-tests() {
    local test code=0 filter
    for test in FineTuneCore.Native.Tests FineTuneCore.Tests FineTuneCore.Cli.Tests; do
        filter=()
        [ -x "$source/dotnet/$test" ] || { absent "$test is not in the bundle"; return; }
        # A machine without a GPU shows that the programs start by themselves and find their data.
        [ $dry -eq 1 ] && [ $test = FineTuneCore.Tests ] && filter=(-class '*GoldenLogitsTests')
        # ftc as a user starts it, on the GPU; the rest of its tests is about the CPU.
        [ $test = FineTuneCore.Cli.Tests ] && filter=(-namespace FineTuneCore.Cli.Tests.Cuda)
        [ $dry -eq 1 ] && [ $test = FineTuneCore.Cli.Tests ] && filter=(-method '*WithoutADriverTheLibraryLoadsAndSaysSo')
        FTC_DEVICE=$([ $dry -eq 1 ] && echo cpu || echo cuda:0) FTC_REQUIRE_CUDA=$((1 - dry)) "$source/dotnet/$test" -noColor -noLogo "${filter[@]}" |
            { grep -vE '^  (Discover|Start|Finish)' || true; } | tee "$work/managed.log" || code=1
        grep -qE 'Total: [1-9]' "$work/managed.log" || { echo "$test ran no test"; code=1; }
    done
    return $code
}

# sanitize TOOL FILTER: a reduced set, since everything is many times slower under it.
sanitize() {
    local tool
    tool=$(command -v compute-sanitizer || ls "$(dirname "$(nvcc_path)")/compute-sanitizer" 2>/dev/null) || { absent "compute-sanitizer is not installed"; return; }
    [ $dry -eq 0 ] || { absent "compute-sanitizer needs a GPU"; return; }
    "$tool" --tool "$1" --error-exitcode 9 "$build/ptx_conformance" --check "$source/tests/golden/ptx/conformance.txt" &&
        "$tool" --tool "$1" --error-exitcode 9 "$build/ftc_cuda_bench" --tiny &&
        "$tool" --tool "$1" --error-exitcode 9 "$build/ftc_cuda_gpu_tests" --gtest_brief=1 --gtest_filter="$2"
}
stage_memcheck() { sanitize memcheck '*Rope*:*Swiglu*:*RmsNorm*/0:*Attention*/0:*Linear*/0:*CrossEntropy*/0'; }
stage_racecheck() { sanitize racecheck '*RmsNorm*/0:*Attention*/0:*Linear*/0:*CrossEntropy*/0'; }

# ---- The run.
collect() {
    "$python" "$source/benchmarks/gpu_results.py" "$work/done" "$results" || true
    cp -f "$results"/* "$out"/
}

for stage in "${wanted[@]}"; do
    state=$work/done/$stage
    if [ -e "$state" ] && { [ $again -eq 0 ] || ! grep -q '^failed' "$state"; }; then
        continue
    fi
    if [ "$(left)" -lt $((limit[$stage] / 3)) ]; then
        echo "== $stage waits for the next call ($(left) s left)"
        continue
    fi
    if [ "$stage" != environment ] && [ "$stage" != build ] && ! grep -q '^passed' "$work/done/build" 2>/dev/null; then
        echo "== $stage needs the build"
        continue
    fi
    echo "== $stage"
    case $stage in
        environment) log=/dev/null ;;
        build) log=$results/build.log ;;
        memcheck | racecheck) log=$results/sanitizer.log ;;
        *) log=$results/stages.log ;;
    esac
    started=$SECONDS allowed=${limit[$stage]}
    [ "$(left)" -ge "$allowed" ] || allowed=$(left)
    # A subshell that is ended when its time is over, children and all.
    set -m
    (echo "==== $stage"; "stage_$stage") >"$work/stage.log" 2>&1 &
    job=$!
    set +m
    (sleep "$allowed"; kill -TERM -- -$job 2>/dev/null) &
    watchdog=$!
    wait $job
    code=$?
    kill $watchdog 2>/dev/null
    case $code in
        0) word=passed ;;
        77) word=absent ;;
        143) word="failed: ran past its $allowed s" ;;
        *) word="failed: exit code $code" ;;
    esac
    tail -n 25 "$work/stage.log"
    cat "$work/stage.log" >>"$log"
    echo "$word in $((SECONDS - started)) s$([ $code -eq 77 ] && sed -n 's/^absent//p' "$work/stage.log")" >"$state"
    echo "-- $stage: $(cat "$state")"
    collect
done
collect
echo
for stage in "${stages[@]}"; do printf '%-20s %s\n' "$stage" "$(cat "$work/done/$stage" 2>/dev/null || echo waiting)"; done
! grep -ql '^failed' "$work"/done/*
