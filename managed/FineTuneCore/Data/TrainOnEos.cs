namespace FineTuneCore.Data;

/// <summary>Which of the tokens that end a turn are trained.</summary>
public enum TrainOnEos
{
    /// <summary>Those that end a trained assistant turn.</summary>
    Turn,

    /// <summary>Those of every turn, the user's included.</summary>
    All,

    /// <summary>Only that of the last trained turn.</summary>
    Last,

    /// <summary>None.</summary>
    None,
}
