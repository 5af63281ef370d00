namespace FineTuneCore.Models;

/// <summary>
/// The supported values of <c>model_type</c>. A family is what its config.json says plus the few things Hugging Face fixes in
/// code: default theta, where biases sit, whether q and k are normalised, which layers slide. Weight names are the same for all four.
/// </summary>
internal static class Architectures
{
    // Far above any published model; beyond, config.json is damaged and sizes would overflow before memory is counted.
    private const int WidestLayer = 1 << 22;
    private const int LargestVocabulary = 1 << 24;
    private const int MostLayers = 10_000;
    private const int MostHeads = 1 << 14;

    private static readonly Dictionary<string, Func<ConfigReader, ModelConfig, ModelConfig>> Families = new()
    {
        ["llama"] = Llama,
        ["mistral"] = Mistral,
        ["qwen2"] = Qwen2,
        ["qwen3"] = Qwen3,
    };

    internal static IEnumerable<string> Supported => Families.Keys;

    internal static ModelConfig Read(ConfigReader config, string json)
    {
        string modelType = config.Text("model_type")
            ?? throw FineTuneException.Failed($"{config.Path} has no model_type; supported are {string.Join(", ", Supported)}.");
        if (!Families.TryGetValue(modelType, out Func<ConfigReader, ModelConfig, ModelConfig>? family))
        {
            throw FineTuneException.Failed(
                $"{config.Path}: model_type '{modelType}' is not supported; supported are {string.Join(", ", Supported)}. Use a base model of one of these families.");
        }

        string activation = config.Text("hidden_act") ?? "silu";
        if (activation is not ("silu" or "swish"))
            throw FineTuneException.Failed($"{config.Path}: hidden_act '{activation}' is not supported, expected silu.");
        CheckQuantisation(config);
        return Check(config, family(config, Common(config, modelType, json)));
    }

    private static void CheckQuantisation(ConfigReader config)
    {
        if (config.Object("quantization_config") is not { } quantisation) return;
        string method = quantisation.Text("quant_method") ?? "bitsandbytes"; // the only tool that once wrote none
        if (method != "bitsandbytes")
        {
            throw FineTuneException.Failed(
                $"{config.Path}: the weights are quantised by {method}, which is not supported; use the unquantised model (ftc quantize or --method qlora make 4-bit weights of it) or one in bitsandbytes NF4.");
        }
    }

    private static ModelConfig Common(ConfigReader config, string modelType, string json)
    {
        int heads = config.Int("num_attention_heads", maximum: MostHeads);
        int hidden = config.Int("hidden_size", maximum: WidestLayer);
        int layers = config.Int("num_hidden_layers", maximum: MostLayers);
        // What transformers assumes for the family when the key is absent.
        int maxPositions = config.Int("max_position_embeddings", modelType switch { "llama" => 2048, "mistral" => 131072, _ => 32768 });
        return new ModelConfig
        {
            ModelType = modelType,
            Json = json,
            HiddenSize = hidden,
            IntermediateSize = config.Int("intermediate_size", maximum: WidestLayer),
            NumHiddenLayers = layers,
            NumAttentionHeads = heads,
            NumKeyValueHeads = config.Int("num_key_value_heads", heads),
            HeadDim = config.Int("head_dim", hidden / heads),
            VocabSize = config.Int("vocab_size", maximum: LargestVocabulary),
            MaxPositionEmbeddings = maxPositions,
            RmsNormEps = (float)config.Double("rms_norm_eps", 1e-6),
            TieWordEmbeddings = config.Bool("tie_word_embeddings", false),
            Rope = RopeConfig.Read(config, 10_000, maxPositions),
            SlidingWindow = new int[layers],
            EosTokenIds = config.Ints("eos_token_id"),
            BosTokenId = config.Ints("bos_token_id") is [int bos, ..] ? bos : null,
            Dtype = config.Text("torch_dtype") ?? config.Text("dtype"),
        };
    }

    private static ModelConfig Llama(ConfigReader config, ModelConfig model)
    {
        bool bias = config.Bool("attention_bias", false);
        return model with { QkvBias = bias, OutputBias = bias, MlpBias = config.Bool("mlp_bias", false) };
    }

    private static ModelConfig Mistral(ConfigReader config, ModelConfig model)
    {
        // Absent means Mistral's default, null means no window.
        int window = config.Has("sliding_window") ? config.Int("sliding_window") : config.IsNull("sliding_window") ? 0 : 4096;
        return model with
        {
            NumKeyValueHeads = config.Int("num_key_value_heads", 8),
            SlidingWindow = [.. Enumerable.Repeat(window, model.NumHiddenLayers)],
        };
    }

    private static ModelConfig Qwen2(ConfigReader config, ModelConfig model) => model with
    {
        QkvBias = true,
        NumKeyValueHeads = config.Int("num_key_value_heads", 32),
        SlidingWindow = QwenWindows(config, model.NumHiddenLayers),
    };

    private static ModelConfig Qwen3(ConfigReader config, ModelConfig model)
    {
        bool bias = config.Bool("attention_bias", false);
        return model with
        {
            QkNorm = true,
            QkvBias = bias,
            OutputBias = bias,
            HeadDim = config.Int("head_dim", 128),
            NumKeyValueHeads = config.Int("num_key_value_heads", 32),
            SlidingWindow = QwenWindows(config, model.NumHiddenLayers),
        };
    }

    /// <summary>Qwen slides only when use_sliding_window says so: by layer_types, or from layer max_window_layers on.</summary>
    private static int[] QwenWindows(ConfigReader config, int layers)
    {
        var windows = new int[layers];
        if (!config.Bool("use_sliding_window", false) || config.IsNull("sliding_window")) return windows;
        int window = config.Int("sliding_window", 4096);
        string[] types = config.Texts("layer_types");
        if (types.Length != 0 && types.Length != layers) throw config.Wrong("layer_types", $"{layers} entries, one a layer");
        int first = config.Int("max_window_layers", 28, minimum: 0);
        for (int i = 0; i < layers; i++)
            windows[i] = (types.Length == 0 ? i >= first : types[i] == "sliding_attention") ? window : 0;
        return windows;
    }

    private static ModelConfig Check(ConfigReader config, ModelConfig model)
    {
        if (!config.Has("head_dim") && model.ModelType != "qwen3" && model.HiddenSize % model.NumAttentionHeads != 0)
            throw config.Wrong("num_attention_heads", $"a divisor of hidden_size ({model.HiddenSize}), as there is no head_dim");
        if (model.NumAttentionHeads % model.NumKeyValueHeads != 0)
            throw config.Wrong("num_key_value_heads", $"a divisor of num_attention_heads ({model.NumAttentionHeads})");
        if (model.HeadDim is < 2 or > 256 || model.HeadDim % 2 != 0)
            throw config.Wrong("head_dim", $"an even number from 2 to 256 (it is {model.HeadDim}; by default hidden_size / num_attention_heads): RoPE turns pairs");
        if (model.RmsNormEps is < 0 or >= 1) throw config.Wrong("rms_norm_eps", "a number from 0, below 1");
        if (model.HeadDim * model.Rope.PartialRotaryFactor < 2) throw config.Wrong("partial_rotary_factor", "large enough to turn one pair of features");
        return model;
    }
}
