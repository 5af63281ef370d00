#!/usr/bin/env bash
# Unpacks PoCL 6.0, an OpenCL 3.0 device that needs no GPU, into PREFIX on Debian 12 x86-64, from the packages of Debian 13
# (trixie): Debian 12's own has no generic address space. Nothing of it is installed in the system. Its libraries want a newer
# glibc, so that PREFIX/dotnet/dotnet is the system's .NET host with trixie's loader in it:
#   OCL_ICD_VENDORS=PREFIX/vendors POCL_CACHE_DIR=PREFIX/cache PREFIX/dotnet/dotnet exec Some.Tests.dll
#   usage: install-pocl-debian.sh [PREFIX]        (default: ~/.cache/finetunecore/pocl-6; 68 MB to download, 330 MB on disk)
set -euo pipefail

prefix=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/finetunecore/pocl-6}
[[ $prefix = /* ]] || prefix=$PWD/$prefix
host=$(dirname "$(readlink -f "$(command -v dotnet || true)")")
if [[ ! -x $host/dotnet ]]; then
  echo "install-pocl-debian.sh: no dotnet in PATH, expected the .NET SDK 10; install it first" >&2
  exit 1
fi
# The copy of the host is of one .NET: another one makes another copy.
stamp=$prefix/.complete-$(sha256sum "$host/dotnet" | cut -c1-16)
[[ -e $stamp ]] && exit 0
if [[ $(uname -m) != x86_64 ]] || ! command -v apt-get >/dev/null; then
  echo "install-pocl-debian.sh: this is $(uname -sm) without apt, expected Debian 12 on x86-64; install your device's own OpenCL instead" >&2
  exit 1
fi
# patchelf changes the host's loader; PoCL links its kernels with ld.
if ! command -v patchelf >/dev/null || ! command -v ld >/dev/null; then
  if [[ $(id -u) -ne 0 ]]; then
    echo "install-pocl-debian.sh: patchelf or ld is missing; install them with: sudo apt-get install -y patchelf binutils" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -q patchelf binutils >/dev/null 2>&1 ||
    { apt-get update -q >/dev/null && apt-get install -y -q patchelf binutils >/dev/null; }
fi

mkdir -p "$(dirname "$prefix")"
work=$(mktemp -d "$(dirname "$prefix")/pocl-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial "$work"/debs "$work"/tree/{root,vendors,dotnet,cache}
: >"$work/status"

# From the mirror that this machine uses already; apt checks the signature and each package's hash.
mirror=$(apt-get update --print-uris | awk -F"'" 'sub("/dists/bookworm/InRelease", "", $2) && !found++ { print $2 }')
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=amd64 target=Packages signed-by=$keyring] ${mirror:?no Debian 12 mirror is set up} trixie main" >"$work/sources.list"
apt=(apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
     -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status"
     -o Dir::Cache="$work/cache" -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root)
"${apt[@]}" update
cd "$work/debs"
"${apt[@]}" download libc6 libstdc++6 libgcc-s1 zlib1g libzstd1 libxml2 liblzma5 libedit2 libbsd0 libmd0 libtinfo6 libffi8 libz3-4 \
  libllvm18 libclang-cpp18 libllvmspirvlib18.1 libclang-common-18-dev libhwloc15 libudev1 libcap2 \
  libpocl2t64 libpocl2-common pocl-opencl-icd ocl-icd-libopencl1
for deb in *.deb; do dpkg -x "$deb" "$work/tree/root"; done

# The prefix keeps no path of the place it was made in.
libraries=$prefix/root/usr/lib/x86_64-linux-gnu
echo "$libraries/libpocl.so.2" >"$work/tree/vendors/pocl.icd"
for file in "$host"/*; do ln -sfn "$file" "$work/tree/dotnet/"; done
rm -f "$work/tree/dotnet/dotnet"
cp "$host/dotnet" "$work/tree/dotnet/"
loader=$(cd "$work/tree" && find root -name ld-linux-x86-64.so.2 | head -1)
patchelf --set-interpreter "$prefix/$loader" --force-rpath --set-rpath "$libraries" "$work/tree/dotnet/dotnet"
touch "$work/tree/$(basename "$stamp")"
chmod 755 "$work/tree"
rm -rf "$prefix"
mv "$work/tree" "$prefix"
