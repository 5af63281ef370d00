using System.Globalization;
using System.Net;
using System.Text;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>One bar of the plot: the median with its spread.</summary>
internal readonly record struct RatioBar(string Label, double Median, double Least, double Most);

/// <summary>Horizontal bars of ratios with the peer as a line at 1, as an SVG that reads on light and dark pages.</summary>
internal static class RatioPlot
{
    private const int Width = 760;
    private const int Left = 210; // room for labels
    private const int Right = 70; // room for values
    private const int Top = 56;
    private const int RowHeight = 30;
    private const int BarHeight = 16;

    internal static string Draw(string title, string subtitle, IReadOnlyList<RatioBar> bars)
    {
        double most = Math.Max(1.5, Math.Ceiling(bars.Select(b => b.Most).DefaultIfEmpty(1).Max() * 2) / 2);
        int height = Top + bars.Count * RowHeight + 34;
        double X(double ratio) => Left + ratio / most * (Width - Left - Right);
        var svg = new StringBuilder();
        void Line(FormattableString line) => svg.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
        Line($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {height}\" width=\"{Width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">");
        Line($"<rect width=\"{Width}\" height=\"{height}\" fill=\"#ffffff\"/>");
        Line($"<text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"bold\" fill=\"#1a1a1a\">{Text(title)}</text>");
        Line($"<text x=\"16\" y=\"42\" fill=\"#555555\">{Text(subtitle)}</text>");
        int bottom = Top + bars.Count * RowHeight;
        for (double tick = 0; tick <= most + 1e-9; tick += 0.5)
        {
            Line($"<line x1=\"{X(tick):F1}\" y1=\"{Top}\" x2=\"{X(tick):F1}\" y2=\"{bottom}\" stroke=\"#e0e0e0\"/>");
            Line($"<text x=\"{X(tick):F1}\" y=\"{bottom + 18}\" text-anchor=\"middle\" fill=\"#555555\">{tick:0.0}×</text>");
        }

        for (int i = 0; i < bars.Count; i++)
        {
            RatioBar bar = bars[i];
            double middle = Top + i * RowHeight + RowHeight / 2.0;
            Line($"<text x=\"{Left - 10}\" y=\"{middle + 4:F1}\" text-anchor=\"end\" fill=\"#1a1a1a\">{Text(bar.Label)}</text>");
            Line($"<rect x=\"{Left}\" y=\"{middle - BarHeight / 2.0:F1}\" width=\"{X(bar.Median) - Left:F1}\" height=\"{BarHeight}\" fill=\"#3b6ea5\"/>");
            Line($"<line x1=\"{X(bar.Least):F1}\" y1=\"{middle:F1}\" x2=\"{X(bar.Most):F1}\" y2=\"{middle:F1}\" stroke=\"#1a1a1a\" stroke-width=\"2\"/>");
            Line($"<text x=\"{X(bar.Most) + 8:F1}\" y=\"{middle + 4:F1}\" fill=\"#1a1a1a\">{bar.Median:0.00}×</text>");
        }

        Line($"<line x1=\"{X(1):F1}\" y1=\"{Top - 4}\" x2=\"{X(1):F1}\" y2=\"{bottom}\" stroke=\"#c0392b\" stroke-width=\"2\" stroke-dasharray=\"5 3\"/>");
        svg.Append("</svg>\n");
        return svg.ToString();
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
