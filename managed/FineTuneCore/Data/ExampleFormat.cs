namespace FineTuneCore.Data;

/// <summary>How a row was written; all of them become one of the subclasses of <see cref="Example"/>.</summary>
public enum ExampleFormat
{
    /// <summary><c>{"messages": […]}</c></summary>
    Messages,

    /// <summary><c>{"prompt": …, "completion": …}</c></summary>
    PromptCompletion,

    /// <summary><c>{"text": …}</c></summary>
    Text,

    /// <summary><c>{"instruction": …, "input": …, "output": …}</c></summary>
    Alpaca,

    /// <summary><c>{"conversations": [{"from": …, "value": …}]}</c></summary>
    ShareGpt,

    /// <summary>A .txt file.</summary>
    PlainText,
}
