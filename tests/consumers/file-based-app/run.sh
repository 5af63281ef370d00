#!/usr/bin/env bash
# A program of one file that trains; and the same compiled ahead of time, where anything that trimming took away would be missed.
set -euo pipefail
dotnet run train.cs | tee losses.txt
test -f run/model/model.safetensors
if ! command -v clang >/dev/null && ! command -v gcc >/dev/null; then
    echo "not compiled ahead of time: there is no C compiler to link with"
    exit 0
fi
dotnet publish train.cs -o out >publish.txt 2>&1 || { cat publish.txt; exit 1; }
if grep -E 'warning IL[0-9]+' publish.txt; then exit 1; fi
mkdir ahead
(cd ahead && ../out/train) >ahead.txt
diff losses.txt ahead.txt
echo "compiled ahead of time, $(($(stat -c %s out/train) / 1000000)) MB: the same losses"
