#!/usr/bin/env bash
# Trains with TorchSharp on FineTuneCore's kernels, and on TorchSharp alone, and compares. Exit code 77: TorchSharp does not load here.
set -euo pipefail
dotnet build -c Release -v quiet
megabytes() { du -cb "$@" | awk 'END { printf "%.1f", $1 / 1e6 }'; }
echo "packages         $(megabytes "$FTC_FEED"/FineTuneCore.{Native,Runtime.Cpu}.*.nupkg) MB of kernels;" \
    "TorchSharp and libtorch for CPUs $(megabytes "$NUGET_PACKAGES"/{torchsharp,torchsharp-cpu,libtorch-cpu*}/*/*.nupkg) MB, three platforms inside"
# Freed memory stays in the process, for both sides: else it is taken from the system and cleared again in every step.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=67108864
dotnet exec bin/Release/net10.0/linux-x64/TorchSharpTrainer.dll
