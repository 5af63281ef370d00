using FineTuneCore.TinyBase.Corpus;
using FineTuneCore.Training;

namespace FineTuneCore.TinyBase;

/// <summary>How the committed model was made: seed, amounts, and the options of its training.</summary>
internal static class TinyRecipe
{
    internal const ulong Seed = 20250101;
    internal const int Documents = 70_000;
    internal const int TokenizerDocuments = 12_000; // enough for the vocabulary's merges
    internal const int PracticeDocuments = 26_000;

    /// <summary>Writes the corpus, and a model directory with tokenizer and random weights.</summary>
    internal static void Prepare(string start, string corpus)
    {
        Directory.CreateDirectory(start);
        List<string> documents = [.. CorpusWriter.Documents(Documents, Seed)];
        CorpusWriter.WriteJsonLines(corpus, documents);
        TinyTokenizer.TrainAndWrite(start, documents.Take(TokenizerDocuments), TinyModel.VocabSize);
        TinyModel.WriteRandom(start, Seed);
        Console.WriteLine($"{documents.Count:N0} documents, {documents.Sum(d => (long)d.Length) / 1e6:F1} M characters");
    }

    /// <summary>Writes the text of the second lesson.</summary>
    internal static void WritePractice(string corpus) =>
        CorpusWriter.WriteJsonLines(corpus, CorpusWriter.Documents(PracticeDocuments, Seed + 1, "practice"));

    internal static FineTuneOptions Options(string model, string data, string run, bool resume) => new()
    {
        Model = model,
        Data = data,
        Output = run,
        Resume = resume,
        Method = FineTuneMethod.Full,
        ValidationFraction = 0.005,
        SequenceLength = 256,
        MicroBatchSize = 8,
        Epochs = 1,
        LearningRate = 1.5e-3,
        WarmupRatio = 0.05,
        WeightDecay = 0.1,
        Beta2 = 0.95,
        EvalEvery = 150,
        EarlyStopping = 0,
        Seed = 1,
    };
}
