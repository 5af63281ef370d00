using System.Globalization;
using System.Net;
using System.Text;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>One side's rate.</summary>
internal readonly record struct PlotBar(string Side, double Rate);

/// <summary>The bars of one case.</summary>
internal sealed record PlotGroup(string Label, IReadOnlyList<PlotBar> Bars);

/// <summary>Groups of horizontal bars, a colour for each side, as an SVG that reads on light and dark pages.</summary>
internal static class KernelPlot
{
    private const int Width = 860, Left = 300, Right = 70, Top = 78, BarHeight = 11, Gap = 9, Ticks = 5;

    /// <summary>By the place of a side; the first, the baseline, is grey. Told apart also by those who see few colours (Okabe and Ito 2008).</summary>
    private static readonly string[] Colours = ["#8a8a8a", "#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#d55e00"];

    internal static string Draw(string title, string subtitle, IReadOnlyList<string> sides, IReadOnlyList<PlotGroup> groups)
    {
        double step = Step(groups.SelectMany(g => g.Bars).Select(b => b.Rate).DefaultIfEmpty(1).Max() / Ticks);
        double most = step * Math.Ceiling(groups.SelectMany(g => g.Bars).Select(b => b.Rate).DefaultIfEmpty(1).Max() / step);
        int bottom = Top + groups.Sum(g => g.Bars.Count * BarHeight + Gap), height = bottom + 30;
        double X(double rate) => Left + rate / most * (Width - Left - Right);
        var svg = new StringBuilder();
        void Line(FormattableString line) => svg.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
        Line($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {height}\" width=\"{Width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">");
        Line($"<rect width=\"{Width}\" height=\"{height}\" fill=\"#ffffff\"/>");
        Line($"<text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"bold\" fill=\"#1a1a1a\">{Text(title)}</text>");
        Line($"<text x=\"16\" y=\"42\" fill=\"#555555\">{Text(subtitle)}</text>");
        string[] shown = [.. sides.Where(s => groups.Any(g => g.Bars.Any(b => b.Side == s)))];
        for (int i = 0; i < shown.Length; i++)
        {
            Line($"<rect x=\"{16 + i * 105}\" y=\"54\" width=\"10\" height=\"10\" fill=\"{Colour(sides, shown[i])}\"/>");
            Line($"<text x=\"{31 + i * 105}\" y=\"63\" fill=\"#1a1a1a\">{Text(shown[i])}</text>");
        }

        for (double tick = 0; tick <= most * (1 + 1e-9); tick += step)
        {
            Line($"<line x1=\"{X(tick):F1}\" y1=\"{Top}\" x2=\"{X(tick):F1}\" y2=\"{bottom}\" stroke=\"#e0e0e0\"/>");
            Line($"<text x=\"{X(tick):F1}\" y=\"{bottom + 16}\" text-anchor=\"middle\" fill=\"#555555\">{tick:0.##}</text>");
        }

        int y = Top;
        foreach (PlotGroup group in groups)
        {
            Line($"<text x=\"{Left - 8}\" y=\"{y + group.Bars.Count * BarHeight / 2.0 + 4:F1}\" text-anchor=\"end\" fill=\"#1a1a1a\">{Text(group.Label)}</text>");
            foreach (PlotBar bar in group.Bars)
            {
                Line($"<rect x=\"{Left}\" y=\"{y}\" width=\"{X(bar.Rate) - Left:F1}\" height=\"{BarHeight - 1}\" fill=\"{Colour(sides, bar.Side)}\"/>");
                Line($"<text x=\"{X(bar.Rate) + 5:F1}\" y=\"{y + BarHeight - 2}\" font-size=\"10\" fill=\"#555555\">{Text(KernelPage.Number(bar.Rate))}</text>");
                y += BarHeight;
            }

            y += Gap;
        }

        return svg.Append("</svg>\n").ToString();
    }

    private static string Colour(IReadOnlyList<string> sides, string side) => Colours[Enumerable.Range(0, sides.Count).First(i => sides[i] == side) % Colours.Length];

    /// <summary>1, 2 or 5 times a power of ten, at least so much.</summary>
    private static double Step(double least)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(least)));
        return power * ((double[])[1, 2, 5, 10]).First(f => f * power >= least * (1 - 1e-9));
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
