using Xunit;

namespace FineTuneCore.Tests.Training;

/// <summary>Tests that watch the whole process run after the others, one at a time.</summary>
[CollectionDefinition("alone", DisableParallelization = true)]
public sealed class AloneCollection;
