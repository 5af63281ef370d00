using System.Diagnostics.CodeAnalysis;

namespace FineTuneCore.Backends;

/// <summary>OpenCL devices, which the assembly and package FineTuneCore.Ilgpu brings.</summary>
internal static class OpenCl
{
    private const string ProviderType = "FineTuneCore.Ilgpu.IlgpuProvider, FineTuneCore.Ilgpu";

    /// <summary>Null when the assembly is not there.</summary>
    internal static IDeviceProvider? FindProvider()
    {
        Type? type = Find();
        return type is null ? null : (IDeviceProvider?)Activator.CreateInstance(type);
    }

    /// <exception cref="FineTuneException">The assembly is not there.</exception>
    internal static IDeviceProvider Provider(DeviceName wanted) => FindProvider() ?? throw FineTuneException.Usage(
        $"--device {wanted}: OpenCL devices need the assembly FineTuneCore.Ilgpu, which is not here; add the package FineTuneCore.Ilgpu to the program.");

    [return: DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)]
    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "A trimmed program has OpenCL when it references the package, which is not trimmed.")]
    [UnconditionalSuppressMessage("Trimming", "IL2072", Justification = "As above.")]
    private static Type? Find() => Type.GetType(ProviderType, throwOnError: false);
}
