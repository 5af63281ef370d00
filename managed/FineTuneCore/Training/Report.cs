using System.Globalization;
using System.Net;
using System.Text;

namespace FineTuneCore.Training;

/// <summary>report.html: the run on one page without scripts or outside resources; the loss curve is inline SVG.</summary>
internal static class Report
{
    private const int Width = 860, Height = 320, Left = 56, Right = 16, Top = 16, Bottom = 36;

    internal static string Html(RunPlan plan, FineTuneResult result, IReadOnlyList<MetricsReader.Row> rows, FineTuneOptions options)
    {
        var html = new StringBuilder();
        html.Append("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>").Append(Text(plan.Model)).Append(" – ftc train</title><style>")
            .Append("body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#1b1f24}table{border-collapse:collapse}")
            .Append("td{padding:.2em 1em .2em 0;vertical-align:top}td:first-child{color:#57606a}svg{max-width:100%;height:auto}</style></head><body>");
        html.Append("<h1>").Append(Text(plan.Model)).Append("</h1><p>").Append(Text(plan.Method)).Append("</p>");
        html.Append(Chart(rows));
        html.Append("<h2>Result</h2><table>");
        if (result.InitialValidationLoss is { } before && result.FinalValidationLoss is { } after)
            Row(html, "validation loss", $"{Number(before)} before, {Number(after)} after (perplexity {Number(Math.Exp(before))} → {Number(Math.Exp(after))})");
        Row(html, "training loss", $"{Number(result.FinalTrainLoss)} at the end");
        Row(html, "saved", $"{result.ModelPath}, weights of step {result.BestStep} of {result.Steps}{(result.StoppedEarly ? ", stopped early" : "")}");
        Row(html, "time", $"{result.Seconds:F1} s, {result.TokensPerSecond:F0} tokens/s");
        html.Append("</table><h2>Run</h2><table>");
        Row(html, "data", $"{plan.TrainSamples} training samples, {plan.ValidationSamples} validation samples, {plan.TokensPerEpoch} tokens an epoch, {plan.TrainedTokensPerEpoch} of them trained");
        Row(html, "parameters", $"{plan.TrainableParameters:N0} trained of {plan.Parameters:N0}");
        Row(html, "device", plan.Device);
        Row(html, "memory", string.Join(", ", plan.Memory.Select(m => $"{m.Category} {m.Bytes / 1e6:F1} MB")));
        foreach (string choice in plan.Choices) Row(html, "chosen", choice);
        html.Append("</table><h2>Options</h2><table>");
        foreach (Setting setting in Settings.All)
            if (setting.Get(options) is { Length: > 0 } value) Row(html, setting.Key, value);
        return html.Append("</table></body></html>\n").ToString();
    }

    /// <summary>Training loss (each step, and smoothed) and validation loss over steps.</summary>
    internal static string Chart(IReadOnlyList<MetricsReader.Row> rows)
    {
        (int Step, double Loss)[] train = [.. rows.Where(r => r.Loss is >= 0).Select(r => (r.Step, r.Loss!.Value))];
        (int Step, double Loss)[] validation = [.. rows.Where(r => r.EvalLoss is >= 0).Select(r => (r.Step, r.EvalLoss!.Value))];
        if (train.Length == 0) return "<p>No step was recorded.</p>";
        double lastStep = Math.Max(1, train.Concat(validation).Max(p => p.Step));
        double low = train.Concat(validation).Min(p => p.Loss), high = train.Concat(validation).Max(p => p.Loss);
        if (high - low < 1e-9) high = low + 1;
        double X(double step) => Left + (Width - Left - Right) * step / lastStep;
        double Y(double loss) => Top + (Height - Top - Bottom) * (high - loss) / (high - low);

        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"loss over steps\" font-family=\"system-ui,sans-serif\" font-size=\"12\">");
        for (int i = 0; i <= 4; i++)
        {
            double loss = low + (high - low) * i / 4, step = lastStep * i / 4;
            svg.Append(CultureInfo.InvariantCulture, $"<line x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(loss):F1}\" y2=\"{Y(loss):F1}\" stroke=\"#d8dee4\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left - 8}\" y=\"{Y(loss) + 4:F1}\" text-anchor=\"end\" fill=\"#57606a\">{Number(loss)}</text>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(step):F1}\" y=\"{Height - Bottom + 20}\" text-anchor=\"middle\" fill=\"#57606a\">{step:F0}</text>");
        }

        svg.Append(Line(train, X, Y, "#b6d4fe", 1)).Append(Line(Smooth(train), X, Y, "#0969da", 2)).Append(Line(validation, X, Y, "#cf222e", 2));
        foreach ((int step, double loss) in validation)
            svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{X(step):F1}\" cy=\"{Y(loss):F1}\" r=\"3\" fill=\"#cf222e\"/>");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Width - Right}\" y=\"{Top + 12}\" text-anchor=\"end\"><tspan fill=\"#0969da\">training loss</tspan>  <tspan fill=\"#cf222e\">validation loss</tspan></text>");
        return svg.Append("</svg>").ToString();
    }

    /// <summary>Mean over a centred window: a running mean would lag behind the curve it smooths.</summary>
    private static (int Step, double Loss)[] Smooth((int Step, double Loss)[] points)
    {
        int half = Math.Max(1, points.Length / 60);
        return [.. points.Select((p, i) =>
        {
            int from = Math.Max(0, i - half), to = Math.Min(points.Length, i + half + 1);
            return (p.Step, points[from..to].Average(q => q.Loss));
        })];
    }

    private static string Line((int Step, double Loss)[] points, Func<double, double> x, Func<double, double> y, string colour, int width) =>
        $"<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{string.Join(' ', points.Select(p => string.Create(CultureInfo.InvariantCulture, $"{x(p.Step):F1},{y(p.Loss):F1}")))}\"/>";

    private static void Row(StringBuilder html, string name, string value) =>
        html.Append("<tr><td>").Append(Text(name)).Append("</td><td>").Append(Text(value)).Append("</td></tr>");

    private static string Number(double value) => value.ToString("0.000", CultureInfo.InvariantCulture);

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
