using System.Text.Json;
using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>Every small template renders, or fails, as Jinja2 renders it.</summary>
public sealed class TemplateGoldenTests
{
    [Fact]
    public void Small_templates_render_as_Jinja2_renders_them()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(GoldenFiles.Path("templates", "renderings.json")));
        Dictionary<string, JsonElement> variables = golden.RootElement.GetProperty("variables").EnumerateObject().ToDictionary(v => v.Name, v => v.Value);
        var different = new List<string>();
        foreach (JsonElement test in golden.RootElement.GetProperty("cases").EnumerateArray())
        {
            string template = test.GetProperty("template").GetString()!;
            string? expected = test.GetProperty("expected").GetString();
            (string? rendered, string? error) = Render(template, variables);
            if (rendered != expected)
                different.Add($"{template}\n   expected {Show(expected)}\n   got      {Show(rendered)} {error}");
        }
        string.Join("\n", different).Should().BeEmpty();
        golden.RootElement.GetProperty("cases").GetArrayLength().Should().BeGreaterThan(400);
    }

    private static (string? Text, string? Error) Render(string template, Dictionary<string, JsonElement> variables)
    {
        try
        {
            return (ChatTemplate.FromString("test", template).Render(new ChatRequest
            {
                Messages = variables["messages"],
                Tools = variables["tools"],
                Variables = variables,
                Now = new DateTimeOffset(2025, 1, 2, 3, 4, 5, TimeSpan.Zero),
            }).Text, null);
        }
        catch (ChatTemplateException e)
        {
            return (null, e.Message);
        }
    }

    private static string Show(string? text) => text is null ? "an error" : JsonSerializer.Serialize(text);
}
