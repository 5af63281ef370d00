namespace FineTuneCore.Training;

/// <summary>How the learning rate moves after warm-up.</summary>
public enum ScheduleKind
{
    /// <summary>Half a cosine down to 0.</summary>
    Cosine,

    /// <summary>A straight line down to 0.</summary>
    Linear,

    /// <summary>Stays.</summary>
    Constant,
}

/// <summary>Linear warm-up, then the chosen curve; a pure function of the step, so resuming needs no state.</summary>
internal sealed class LearningRateSchedule(ScheduleKind kind, double peak, int warmupSteps, int totalSteps)
{
    /// <summary>Learning rate of step t, counted from 0.</summary>
    internal double At(int step)
    {
        if (step < warmupSteps) return peak * (step + 1) / warmupSteps;
        double span = Math.Max(1, totalSteps - warmupSteps);
        double done = Math.Clamp((step - warmupSteps) / span, 0, 1);
        return kind switch
        {
            ScheduleKind.Cosine => peak * 0.5 * (1 + Math.Cos(Math.PI * done)),
            ScheduleKind.Linear => peak * (1 - done),
            _ => peak,
        };
    }
}
