#!/usr/bin/env bash
# A program of one file that trains.
set -euo pipefail
dotnet run train.cs
test -f run/model/model.safetensors
