using Xunit.Sdk;
using Xunit.v3;

// A backend serves one thread at a time, and all tests of a device share one.
[assembly: Parallelization(Mode = ParallelMode.None)]
