using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Models;
using FineTuneCore.Tensors;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;

namespace FineTuneCore.Conformance.Tests.References;

/// <summary>Weights in every format, made here from random codes, with the values that they stand for.</summary>
internal static class QuantReference
{
    internal const string F32 = "f32", Bf16 = "bf16", Nf4 = "nf4", Nf4Nested = "nf4 nested", Int8 = "int8", Affine4 = "affine 4", Affine3 = "affine 3", Affine2 = "affine 2";

    /// <summary>A random matrix in a format; values gets what it stands for, exactly as fp32.</summary>
    internal static WeightMatrix Weight(Memory memory, string format, int rows, int columns, out float[] values, int seed = 31)
    {
        int count = rows * columns;
        var random = new Random(seed);
        byte[] codes = new byte[count];
        random.NextBytes(codes);
        switch (format)
        {
            case F32:
                values = Numbers.Random(seed, count);
                return new WeightMatrix { Format = WeightFormat.F32, Rows = rows, Columns = columns, Data = memory.Matrix(values, rows, columns, DType.F32, gap: 5) };
            case Bf16:
                values = Numbers.Random(seed, count, 1f, DType.BF16);
                return new WeightMatrix { Format = WeightFormat.BF16, Rows = rows, Columns = columns, Data = memory.Matrix(values, rows, columns, DType.BF16, gap: 6) };
            case Nf4 or Nf4Nested:
                return Nf4Weight(memory, rows, columns, codes[..((count + 1) / 2)], format == Nf4Nested, random, out values);
            case Int8:
                float[] scale = Numbers.Random(seed + 1, rows, 0.02f);
                values = [.. codes.Select((c, i) => (sbyte)c * scale[i / columns])];
                return new WeightMatrix
                {
                    Format = WeightFormat.Int8, Rows = rows, Columns = columns, Data = memory.Vector(codes, DType.U8), Scale = memory.Vector(scale),
                };
            default:
                return AffineWeight(memory, rows, columns, format[^1] - '0', codes, out values);
        }
    }

    private static WeightMatrix Nf4Weight(Memory memory, int rows, int columns, byte[] codes, bool nested, Random random, out float[] values)
    {
        int count = rows * columns, blocks = (count + 63) / 64, nestedBlocks = (blocks + 255) / 256;
        float[] map = Nf4Tables.QuantMap.ToArray(), nestedMap = Nf4Tables.NestedMap.ToArray();
        var absmaxCodes = new byte[blocks];
        random.NextBytes(absmaxCodes);
        float[] nestedAbsmax = Numbers.Random(41, nestedBlocks, 0.5f), absmax = Numbers.Random(42, blocks);
        const float Offset = 0.75f;
        if (nested)
        {
            for (int b = 0; b < blocks; b++)
            {
                float scaled = nestedMap[absmaxCodes[b]] * nestedAbsmax[b / 256];
                absmax[b] = scaled + Offset;
            }
        }

        values = new float[count];
        for (int e = 0; e < count; e++) values[e] = map[(e & 1) == 0 ? codes[e / 2] >> 4 : codes[e / 2] & 15] * absmax[e / 64];
        return new WeightMatrix
        {
            Format = WeightFormat.Nf4, Rows = rows, Columns = columns, Data = memory.Vector(codes, DType.U8), QuantMap = memory.Vector(map),
            Absmax = nested ? memory.Vector(absmaxCodes, DType.U8) : memory.Vector(absmax), NestedAbsmax = nested ? memory.Vector(nestedAbsmax) : default,
            NestedMap = nested ? memory.Vector(nestedMap) : default, NestedOffset = nested ? Offset : 0, BlockSize = 64, NestedBlockSize = nested ? 256 : 0,
        };
    }

    private static WeightMatrix AffineWeight(Memory memory, int rows, int columns, int bits, byte[] codes, out float[] values)
    {
        const int Group = 32;
        int groups = columns / Group, rowBytes = columns / 8 * bits;
        codes = codes[..(rows * rowBytes)];
        float[] scale = Numbers.Random(43, rows * groups, 0.1f), minimum = Numbers.Random(44, rows * groups);
        values = new float[rows * columns];
        for (int n = 0; n < rows; n++)
        {
            for (int k = 0; k < columns; k++)
            {
                int code = 0;
                for (int bit = 0; bit < bits; bit++)
                {
                    int at = bits * k + bit;
                    code |= ((codes[n * rowBytes + at / 8] >> (at % 8)) & 1) << bit;
                }

                values[n * columns + k] = MathF.FusedMultiplyAdd(scale[n * groups + k / Group], code, minimum[n * groups + k / Group]);
            }
        }

        return new WeightMatrix
        {
            Format = WeightFormat.Affine, Rows = rows, Columns = columns, Data = memory.Vector(codes, DType.U8), Scale = memory.Vector(scale),
            Minimum = memory.Vector(minimum), Bits = bits, GroupSize = Group,
        };
    }
}
