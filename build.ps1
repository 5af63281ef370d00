# The verbs of build.sh for Windows: a thin wrapper over the CMake presets and dotnet, without logic of its own.
# Tried by hand with PowerShell 7 on Linux; ./build.sh is what continuous integration runs.
param([string] $Verb = 'help')
$ErrorActionPreference = 'Stop'
$root = $PSScriptRoot
$native = [IO.Path]::Combine($root, 'native')
$configuration = 'Release'

function Invoke-Step { & $args[0] $args[1..($args.Length - 1)]; if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE } }
function Build-Native { [Environment]::CurrentDirectory = $native; Invoke-Step cmake -S $native --preset release; Invoke-Step cmake --build ([IO.Path]::Combine($native, 'build', 'release')) }
function Build-Managed { Invoke-Step dotnet build ([IO.Path]::Combine($root, 'FineTuneCore.sln')) -c $configuration }
function Invoke-Ftc { Invoke-Step dotnet ([IO.Path]::Combine($root, 'managed', 'FineTuneCore.Cli', 'bin', $configuration, 'net10.0', 'ftc.dll')) @args }
function Invoke-Tests {
    Invoke-Step ([IO.Path]::Combine($native, 'build', 'release', 'ftc_tests'))
    foreach ($name in 'bindings/FineTuneCore.Native.Tests', 'managed/FineTuneCore.Tests', 'managed/FineTuneCore.TinyBase.Tests', 'managed/FineTuneCore.Cli.Tests',
        'managed/FineTuneCore.Conformance.Tests', 'benchmarks/FineTuneCore.Benchmarks.Tests') {
        $leaf = [IO.Path]::GetFileName($name)
        Invoke-Step dotnet exec ([IO.Path]::Combine($root, 'tests', $name, 'bin', $configuration, 'net10.0', "$leaf.dll"))
    }
}
function Build-TinyBase {
    Invoke-Step dotnet run --project ([IO.Path]::Combine($root, 'managed', 'FineTuneCore.TinyBase')) -c $configuration -- `
        ([IO.Path]::Combine($root, 'artifacts', 'tiny-base')) ([IO.Path]::Combine($root, 'managed', 'FineTuneCore.Cli', 'Quickstart'))
}
function Invoke-Pack {
    foreach ($project in 'bindings/FineTuneCore.Native', 'bindings/Runtime/Cpu', 'managed/FineTuneCore', 'managed/FineTuneCore.Ilgpu', 'managed/FineTuneCore.Cli') {
        Invoke-Step dotnet pack ([IO.Path]::Combine($root, $project)) -c $configuration -o ([IO.Path]::Combine($root, 'artifacts', 'packages'))
    }
}

switch ($Verb) {
    'native' { Build-Native }
    'managed' { Build-Managed }
    'quickstart' { Build-Native; Build-Managed; Invoke-Ftc quickstart }
    'test' { Build-Native; Build-Managed; Invoke-Tests }
    'bench' { Build-Native; Invoke-Step ([IO.Path]::Combine($native, 'build', 'release', 'ftc_bench')) }
    'tiny-base' { Build-Native; Build-TinyBase }
    'pack' { Build-Native; Build-Managed; Invoke-Pack }
    'all' { Build-Native; Build-Managed; Invoke-Tests; Invoke-Pack }
    default { 'usage: build.ps1 native|managed|quickstart|test|bench|tiny-base|pack|all' }
}
