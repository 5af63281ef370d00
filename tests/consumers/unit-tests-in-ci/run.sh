#!/usr/bin/env bash
# Runs the unit tests of an application that fine-tunes.
set -euo pipefail
dotnet build -c Release -v quiet
dotnet exec bin/Release/net10.0/Orders.Tests.dll -noColor -noLogo | tee tests.txt
dotnet test -c Release --no-build --no-restore | tail -8
grep -q 'Failed: 0, ' tests.txt
