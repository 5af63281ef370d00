using FineTuneCore.Tensors;
using FluentAssertions;

namespace FineTuneCore.Conformance.Tests;

/// <summary>
/// The rule: at most twice as wrong as the naive computation in fp32, plus one ulp of the largest value, plus what the device's functions may add; what
/// is stored in 16 bits may be wrong by half an ulp of its own besides.
/// </summary>
internal static class Accuracy
{
    internal static void Check(float[] actual, double[] exact, double[] naive, string what, int functionUlps = 0, DType dtype = DType.F32)
    {
        actual.Length.Should().Be(exact.Length, what);
        naive.Length.Should().Be(exact.Length, what);
        double largest = 0, naiveWorst = 0;
        for (int i = 0; i < exact.Length; i++)
        {
            largest = Math.Max(largest, Math.Abs(exact[i]));
            naiveWorst = Math.Max(naiveWorst, Math.Abs((float)naive[i] - exact[i]));
        }

        double allowed = 2 * naiveWorst + (1 + functionUlps) * (MathF.BitIncrement((float)largest) - (float)largest);
        for (int i = 0; i < exact.Length; i++)
        {
            double error = Math.Abs(actual[i] - exact[i]), own = dtype == DType.F32 ? 0 : Math.Abs(exact[i]) / 256 + 1e-38;
            if (!(error <= allowed + own))
                Assert(what, i, actual[i], exact[i], error, allowed + own);
        }
    }

    private static void Assert(string what, int i, float actual, double exact, double error, double allowed) =>
        Xunit.Assert.Fail($"{what}: element {i} is {actual:R}, expected {exact:R}; wrong by {error:E2}, allowed {allowed:E2}");
}
