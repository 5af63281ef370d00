using FineTuneCore.Benchmarks.Kernels;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>A method of an op with a case: what a row of the table is.</summary>
internal sealed record KernelOp(string Op, string Method, KernelCase Case, KernelFamily Family, double Work, bool IsBf16)
{
    internal string Key => Case.Key(Method);

    /// <summary>All rows, in the order of the page: families, then ops and sizes as <c>kernels.txt</c> lists them.</summary>
    internal static IEnumerable<KernelOp> All()
    {
        Dictionary<string, Type> types = KernelRunner.Ops.ToDictionary(KernelRunner.NameOf);
        if (KernelCase.All.FirstOrDefault(c => !types.ContainsKey(c.Op)) is { } unknown)
            throw new InvalidOperationException($"kernels.txt has the op {unknown.Op}, expected some of {string.Join(", ", types.Keys.Order())}");
        IEnumerable<KernelOp> all =
            from of in KernelCase.All
            let op = KernelRunner.Create(types[of.Op], of)
            from method in KernelRunner.Methods(types[of.Op])
            select new KernelOp(of.Op, method, of, op.Family, op.Work(method), op.IsBf16);
        List<KernelOp> rows = [.. all];
        return KernelFamily.All.SelectMany(f => rows.Where(r => r.Family == f));
    }
}
