#!/usr/bin/env bash
# run.sh FEED [--stranger] [NAME...]: runs the consumers, each copied out of the repository, with FineTuneCore from the packages in FEED alone.
# --stranger begins with nothing: empty home, empty package and download caches. Otherwise the packages of others are kept in
# FTC_CONSUMER_PACKAGES (default ~/.cache/finetunecore/packages), as TorchSharp alone is a download of 290 MB.
# Closes with a line "N passed, N failed, N skipped".
set -euo pipefail
sources=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
FTC_FEED=$(readlink -f "${1:?usage: run.sh FEED [--stranger] [NAME...]}")
shift
compgen -G "$FTC_FEED/FineTuneCore.*.nupkg" >/dev/null || { echo "$FTC_FEED holds no FineTuneCore packages; make them with ./build.sh pack" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "${1:-}" = --stranger ]; then
    shift
    export HOME=$work/home NUGET_PACKAGES=$work/packages NUGET_HTTP_CACHE_PATH=$work/downloads
    unset XDG_CACHE_HOME DOTNET_CLI_HOME
    mkdir "$HOME"
else
    export NUGET_PACKAGES=${FTC_CONSUMER_PACKAGES:-${XDG_CACHE_HOME:-$HOME/.cache}/finetunecore/packages}
    # A version that was restored once would be taken from here for ever.
    rm -rf "$NUGET_PACKAGES"/finetunecore "$NUGET_PACKAGES"/finetunecore.*
fi
export FTC_FEED DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
unset FTC_LIBRARY_PATH FTC_CUDA_LIBRARY_PATH FTC_CPU_ISA

names=("$@")
[ $# -gt 0 ] || names=(tool file-based-app unit-tests-in-ci kernels-on-net8 torchsharp-trainer)
passed=0 failed=0 skipped=0
for name in "${names[@]}"; do
    [ -x "$sources/$name/run.sh" ] || { echo "no consumer $name in $sources" >&2; exit 2; }
    printf '\n== consumer %s\n' "$name"
    mkdir "$work/$name"
    cp "$sources/nuget.config" "$work/$name"
    (cd "$sources/$name" && find . -type d \( -name bin -o -name obj \) -prune -o \( -type f -o -type l \) -print0 | tar -c --dereference --null -T - -f -) | tar -x -C "$work/$name"
    code=0
    (cd "$work/$name" && ./run.sh) || code=$?
    case $code in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        *) echo "consumer $name failed (exit code $code)"; failed=$((failed + 1)) ;;
    esac
done
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
