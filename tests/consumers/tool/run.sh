#!/usr/bin/env bash
# Installs ftc from the feed and runs its tour without a network.
set -euo pipefail
dotnet tool install FineTuneCore.Tool --tool-path tools --configfile nuget.config
offline=(unshare --map-root-user --net)
"${offline[@]}" true 2>/dev/null || { offline=(); echo "the network stays on: this machine lets us not take it away"; }
"${offline[@]}" tools/ftc quickstart --output run >tour.txt || { cat tour.txt; exit 1; }
sed -n '/^── result/,/^── next/p' tour.txt | head -n -1
test -f run/adapter/adapter_model.safetensors
