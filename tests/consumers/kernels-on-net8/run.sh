#!/usr/bin/env bash
# The kernels on the oldest runtime they are for.
set -euo pipefail
dotnet publish -c Release -v quiet -o out
out/KernelsOnNet8
