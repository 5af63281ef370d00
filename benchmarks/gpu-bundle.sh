#!/usr/bin/env bash
# gpu-bundle.sh: gathers what a bare GPU machine (nvcc, CMake, ninja, Python with PyTorch; no .NET, no GoogleTest, no network) needs to
# build, prove and measure the CUDA library, into artifacts/gpu-bundle: gpu-run.sh, which does all of it, and the archive it unpacks.
# Called by ./build.sh gpu-bundle, after the native library and the solution are built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
configuration=${FTC_CONFIGURATION:-Release}
limit_mib=56 # of the checkout and the bundle together, which is what can be carried to such a machine

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/source/dotnet" artifacts/gpu-bundle

# Sources, as they are in the working tree. Results are not needed there.
git ls-files --cached --others --exclude-standard -- native cmake tests/native tests/golden benchmarks LICENSE |
    { grep -v '^benchmarks/results/' || true; } | while read -r file; do
    [ -e "$file" ] && install -D -m "$(stat -c %a "$file")" "$file" "$staging/source/$file"
done
git rev-parse HEAD >"$staging/source/COMMIT"
git diff --quiet HEAD || echo "with uncommitted changes" >>"$staging/source/COMMIT"
cp managed/FineTuneCore.Cli/Quickstart/tiny-base/tokenizer*.json "$staging/source/"

googletest=/usr/src/googletest/googletest
[ -e $googletest/src/gtest-all.cc ] || { echo "missing: GoogleTest's sources. Install with: sudo apt-get install -y googletest" >&2; exit 1; }
cp -r $googletest "$staging/googletest"
rm -rf "$staging"/googletest/{test,samples,docs}

# Reference data of the tests, where it is at hand.
data=${FTC_TEST_DATA:-$root/../shared/data}
if [ -d "$data/models/stories260K" ]; then
    mkdir -p "$staging/data/models"
    cp -r "$data/models/stories260K" "$staging/data/models/"
    chmod -R u+w "$staging/data"
fi

# ftc and the managed test programs, one .NET runtime for all of them.
for project in managed/FineTuneCore.Cli tests/managed/FineTuneCore.Tests tests/managed/FineTuneCore.Cli.Tests tests/bindings/FineTuneCore.Native.Tests; do
    echo "publishing $(basename "$project")"
    dotnet publish "$project" -c "$configuration" -r linux-x64 --self-contained -o "$staging/source/dotnet" -v quiet -nologo -p:DebugType=none
done
rm -f "$staging"/source/dotnet/{createdump,libmscordaccore.so,libmscordbi.so,*.pdb,*.xml} # for debuggers and documentation
find "$staging/source/dotnet" -name "libftc_cuda*" -delete # built there

for size in source source/dotnet googletest data; do [ ! -e "$staging/$size" ] || du -sh "$staging/$size" | sed "s|$staging/||"; done
echo "packing"
tar -C "$staging" -c . | xz -T0 -6 >artifacts/gpu-bundle/gpu-bundle.tar.xz
install -m 755 benchmarks/gpu-run.sh artifacts/gpu-bundle/gpu-run.sh
bundle=$(du -sb artifacts/gpu-bundle | cut -f1)
tree=$(git ls-files --cached --others --exclude-standard -z | du -cb --files0-from=- 2>/dev/null | tail -n 1 | cut -f1)
echo "artifacts/gpu-bundle: $((bundle >> 20)) MiB; with the checkout $(((bundle + tree) >> 20)) of $limit_mib MiB"
[ $((bundle + tree)) -le $((limit_mib * 1048576)) ] || { echo "too large to be carried" >&2; exit 1; }
