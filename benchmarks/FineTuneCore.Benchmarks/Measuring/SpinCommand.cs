namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>The busy neighbour: one thread that computes until its standard input ends.</summary>
internal static class SpinCommand
{
    internal static void Run()
    {
        bool ended = false;
        new Thread(() =>
        {
            while (Console.In.Read() >= 0)
            {
            }

            Volatile.Write(ref ended, true);
        }) { IsBackground = true }.Start();
        for (ulong number = 1; !Volatile.Read(ref ended); number = number * 6364136223846793005 + 1)
        {
        }
    }
}
