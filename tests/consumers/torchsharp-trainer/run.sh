#!/usr/bin/env bash
# Trains with TorchSharp on FineTuneCore's kernels, and on TorchSharp alone, and compares. Exit code 77: TorchSharp does not load here.
set -euo pipefail
dotnet build -c Release -v quiet
dotnet exec bin/Release/net10.0/linux-x64/TorchSharpTrainer.dll
