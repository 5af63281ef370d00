using FineTuneCore.Models;

namespace FineTuneCore.Adapters;

/// <summary>Starting values of an adapter: A ~ U(±1/√in-features) (Kaiming uniform with a = √5), B = 0.</summary>
internal static class LoraInitialiser
{
    /// <summary>Fills A of every layer from a generator keyed by seed and module, so that a layer's numbers do not depend on its neighbours.</summary>
    internal static void Initialise(DecoderWeights weights, ulong seed)
    {
        foreach (LoraLayer layer in weights.Lora.Values)
        {
            var random = new SplitMix64(layer.DropoutSeed ^ (seed * 0xD1B54A32D192ED03));
            var values = new float[layer.A.Count];
            double bound = 1 / Math.Sqrt(layer.A.Columns);
            for (int i = 0; i < values.Length; i++) values[i] = (float)((2 * random.NextUnit() - 1) * bound);
            weights.Backend.Upload<float>(weights.Parameters.Value(layer.A), values);
        }
    }
}
