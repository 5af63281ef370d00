namespace FineTuneCore.Models;

/// <summary>What kind of weight a module holds; decides what may be quantised, adapted and decayed.</summary>
internal enum WeightKind
{
    Embedding,
    Linear,
    Head,
    Norm,
}

/// <summary>A module of the model and the shape of its weight; <c>Name</c> is the Hugging Face path without <c>.weight</c>.</summary>
internal sealed record ModuleSpec(string Name, WeightKind Kind, long Rows, long Columns, bool Bias = false)
{
    internal string WeightName => $"{Name}.weight";

    internal string BiasName => $"{Name}.bias";
}

/// <summary>The modules of a decoder under their Hugging Face names: the one place where names are spelled.</summary>
internal static class WeightNames
{
    internal const string Embedding = "model.embed_tokens";
    internal const string FinalNorm = "model.norm";
    internal const string Head = "lm_head";

    internal static string Layer(int layer, string module) => $"model.layers.{layer}.{module}";

    /// <summary>The linear layers of a block, in the order of the forward pass.</summary>
    internal static IEnumerable<string> Linears(int layer) =>
        ((string[])["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"])
        .Select(module => Layer(layer, module));

    /// <summary>Every module, in the order of the forward pass; a tied head is not listed.</summary>
    internal static IEnumerable<ModuleSpec> Modules(ModelConfig c)
    {
        yield return new ModuleSpec(Embedding, WeightKind.Embedding, c.VocabSize, c.HiddenSize);
        for (int i = 0; i < c.NumHiddenLayers; i++)
        {
            yield return new ModuleSpec(Layer(i, "input_layernorm"), WeightKind.Norm, 1, c.HiddenSize);
            yield return new ModuleSpec(Layer(i, "self_attn.q_proj"), WeightKind.Linear, c.QueryWidth, c.HiddenSize, c.QkvBias);
            yield return new ModuleSpec(Layer(i, "self_attn.k_proj"), WeightKind.Linear, c.KeyValueWidth, c.HiddenSize, c.QkvBias);
            yield return new ModuleSpec(Layer(i, "self_attn.v_proj"), WeightKind.Linear, c.KeyValueWidth, c.HiddenSize, c.QkvBias);
            if (c.QkNorm)
            {
                yield return new ModuleSpec(Layer(i, "self_attn.q_norm"), WeightKind.Norm, 1, c.HeadDim);
                yield return new ModuleSpec(Layer(i, "self_attn.k_norm"), WeightKind.Norm, 1, c.HeadDim);
            }

            yield return new ModuleSpec(Layer(i, "self_attn.o_proj"), WeightKind.Linear, c.HiddenSize, c.QueryWidth, c.OutputBias);
            yield return new ModuleSpec(Layer(i, "post_attention_layernorm"), WeightKind.Norm, 1, c.HiddenSize);
            yield return new ModuleSpec(Layer(i, "mlp.gate_proj"), WeightKind.Linear, c.IntermediateSize, c.HiddenSize, c.MlpBias);
            yield return new ModuleSpec(Layer(i, "mlp.up_proj"), WeightKind.Linear, c.IntermediateSize, c.HiddenSize, c.MlpBias);
            yield return new ModuleSpec(Layer(i, "mlp.down_proj"), WeightKind.Linear, c.HiddenSize, c.IntermediateSize, c.MlpBias);
        }

        yield return new ModuleSpec(FinalNorm, WeightKind.Norm, 1, c.HiddenSize);
        if (!c.TieWordEmbeddings) yield return new ModuleSpec(Head, WeightKind.Head, c.VocabSize, c.HiddenSize);
    }
}
