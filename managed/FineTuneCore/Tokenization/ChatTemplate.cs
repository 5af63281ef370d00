using System.Text.Json;
using FineTuneCore.Tokenization.Loading;
using FineTuneCore.Tokenization.Templates;

namespace FineTuneCore.Tokenization;

/// <summary>
/// A chat template: the Jinja subset that published models use, rendered as transformers renders it (trim_blocks, lstrip_blocks, nothing
/// that changes values). A template can neither read files nor run without end.
/// </summary>
public sealed class ChatTemplate
{
    private const string BundledPrefix = "ChatTemplates/";
    private readonly IReadOnlyList<Statement> _body;
    private readonly IReadOnlyList<Statement>? _toolBody;
    private readonly IReadOnlyDictionary<string, string> _specialTokens;

    private ChatTemplate(string name, string source, string? toolSource, IReadOnlyDictionary<string, string> specialTokens)
    {
        Name = name;
        Source = source;
        _specialTokens = specialTokens;
        _body = Parse(name, source);
        _toolBody = toolSource is null ? null : Parse($"{name} (tool_use)", toolSource);
    }

    /// <summary>Where the template is from: a path, or the name of a bundled one.</summary>
    public string Name { get; }

    /// <summary>The template itself.</summary>
    public string Source { get; }

    /// <summary>Whether the template marks what the assistant says by {% generation %} blocks.</summary>
    public bool MarksGeneration => Source.Contains("endgeneration", StringComparison.Ordinal);

    /// <summary>Names that <see cref="Bundled"/> knows.</summary>
    public static IReadOnlyList<string> BundledNames { get; } =
    [
        .. typeof(ChatTemplate).Assembly.GetManifestResourceNames()
            .Where(name => name.StartsWith(BundledPrefix, StringComparison.Ordinal))
            .Select(name => Path.GetFileNameWithoutExtension(name[BundledPrefix.Length..]))
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>The template of a model directory (chat_template.jinja, else tokenizer_config.json), or null where it has none.</summary>
    /// <exception cref="ChatTemplateException">The template is not well formed.</exception>
    /// <exception cref="TokenizationException">A configuration file is damaged.</exception>
    public static ChatTemplate? FromModelDirectory(string modelDirectory)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelDirectory);
        IReadOnlyDictionary<string, string> tokens = SpecialTokens.Read(modelDirectory).Named;
        string jinja = Path.Combine(modelDirectory, "chat_template.jinja");
        if (File.Exists(jinja))
        {
            string tools = Path.Combine(modelDirectory, "additional_chat_templates", "tool_use.jinja");
            return new ChatTemplate(jinja, ReadText(jinja), File.Exists(tools) ? ReadText(tools) : null, tokens);
        }
        string config = Path.Combine(modelDirectory, "tokenizer_config.json");
        if (!File.Exists(config))
            return null;
        using JsonDocument document = JsonFiles.Open(config);
        JsonPlace place = new JsonPlace(document.RootElement, config, "$")["chat_template"];
        if (place.IsNull)
            return null;
        if (place.Value.ValueKind == JsonValueKind.String)
            return new ChatTemplate(config, place.AsString(), null, tokens);
        Dictionary<string, string> named = place.Items().ToDictionary(item => item.String("name"), item => item.String("template"));
        string? tool = named.GetValueOrDefault("tool_use");
        return named.TryGetValue("default", out string? source) || tool is not null
            ? new ChatTemplate(config, source ?? tool!, tool, tokens)
            : throw place.Wrong("a template named default");
    }

    /// <summary>A template from a file.</summary>
    /// <param name="file">Path of a .jinja file.</param>
    /// <param name="bosToken">What bos_token is in the template; null leaves it undefined.</param>
    /// <param name="eosToken">What eos_token is in the template; null leaves it undefined.</param>
    public static ChatTemplate FromFile(string file, string? bosToken = null, string? eosToken = null) =>
        new(file, ReadText(file), null, Tokens(bosToken, eosToken));

    /// <summary>A template from a string.</summary>
    /// <param name="name">What errors call it.</param>
    /// <param name="source">The template.</param>
    /// <param name="bosToken">What bos_token is in the template; null leaves it undefined.</param>
    /// <param name="eosToken">What eos_token is in the template; null leaves it undefined.</param>
    public static ChatTemplate FromString(string name, string source, string? bosToken = null, string? eosToken = null) =>
        new(name, source, null, Tokens(bosToken, eosToken));

    /// <summary>One of the templates that come with the library; <see cref="BundledNames"/> lists them.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="bosToken">What bos_token is in the template; null leaves it undefined.</param>
    /// <param name="eosToken">What eos_token is in the template; null leaves it undefined.</param>
    public static ChatTemplate Bundled(string name, string? bosToken = null, string? eosToken = null)
    {
        using Stream? stream = typeof(ChatTemplate).Assembly.GetManifestResourceStream($"{BundledPrefix}{name}.jinja");
        if (stream is null)
            throw new ChatTemplateException(
                $"chat template {name} is not one of those that come along ({string.Join(", ", BundledNames)}) and no file of that name is there; "
                + "choose one of them or give a file");
        using var reader = new StreamReader(stream);
        return new ChatTemplate(name, reader.ReadToEnd(), null, Tokens(bosToken, eosToken));
    }

    /// <summary>The template to use with a model: the one asked for, else the model's own, else null.</summary>
    /// <param name="modelDirectory">The model's directory.</param>
    /// <param name="nameOrFile">Name of a bundled template, path of a .jinja file, or null for the model's own.</param>
    /// <param name="tokenizer">The model's tokenizer, whose special tokens a bundled template or file gets; BOS only where it begins texts.</param>
    /// <exception cref="ChatTemplateException">It is neither a bundled template nor a readable file, or not well formed.</exception>
    public static ChatTemplate? Resolve(string modelDirectory, string? nameOrFile, Tokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (nameOrFile is null)
            return FromModelDirectory(modelDirectory);
        string? bos = tokenizer.AddsBos ? tokenizer.BosToken : null;
        return File.Exists(nameOrFile) ? FromFile(nameOrFile, bos, tokenizer.EosToken) : Bundled(nameOrFile, bos, tokenizer.EosToken);
    }

    /// <summary>Renders a conversation.</summary>
    /// <exception cref="ChatTemplateException">The template refuses the conversation (raise_exception), fails, or does not end.</exception>
    public RenderedChat Render(ChatRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var rendering = new Rendering { Now = request.Now ?? DateTimeOffset.Now };
        var scope = new Scope(null);
        foreach ((string name, string token) in _specialTokens)
            scope[name] = token;
        scope["add_generation_prompt"] = request.AddGenerationPrompt;
        try
        {
            scope["messages"] = JsonText.FromJson(request.Messages);
            if (request.Tools is { } tools)
                scope["tools"] = JsonText.FromJson(tools);
            foreach ((string name, JsonElement value) in request.Variables)
                scope[name] = JsonText.FromJson(value);
            bool hasTools = request.Tools is { ValueKind: not (JsonValueKind.Null or JsonValueKind.Undefined) };
            Statement.Run(hasTools && _toolBody is not null ? _toolBody : _body, new Frame(rendering, new Scope(scope), rendering.Output));
        }
        catch (TemplateError e)
        {
            throw Wrap(Name, e);
        }
        return new RenderedChat(rendering.Output.ToString(), rendering.Generated);
    }

    private static IReadOnlyList<Statement> Parse(string name, string source)
    {
        try
        {
            return TemplateParser.Parse(source);
        }
        catch (TemplateError e)
        {
            throw Wrap(name, e);
        }
    }

    private static ChatTemplateException Wrap(string name, TemplateError error) =>
        new($"chat template {name}{(error.Line > 0 ? $", line {error.Line}" : "")}: {error.Message}", error);

    private static Dictionary<string, string> Tokens(string? bosToken, string? eosToken)
    {
        var tokens = new Dictionary<string, string>();
        if (bosToken is not null)
            tokens["bos_token"] = bosToken;
        if (eosToken is not null)
            tokens["eos_token"] = eosToken;
        return tokens;
    }

    private static string ReadText(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ChatTemplateException($"chat template {file} cannot be read ({e.Message}); check the path and the permissions", e);
        }
    }
}
