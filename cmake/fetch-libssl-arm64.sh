#!/usr/bin/env bash
# fetch-libssl-arm64.sh FOLDER: libssl.so.3 for arm64 in FOLDER/usr/lib/aarch64-linux-gnu, from the sources this Debian has; nothing is installed.
# .NET computes SHA-256 with it, and the cross compiler's libraries do not include it.
set -euo pipefail
folder=$(readlink -m "${1:?usage: fetch-libssl-arm64.sh FOLDER}")
[ ! -e "$folder/usr/lib/aarch64-linux-gnu/libssl.so.3" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
options=(-q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache"
    -o "Dir::State::status=$work/status" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update >/dev/null
(cd "$work" && apt-get "${options[@]}" download libssl3 >/dev/null)
dpkg -x "$work"/libssl3_*.deb "$folder"
