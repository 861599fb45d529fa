namespace DoraSharp.Transformers;

/// <summary>Picks the next token from logits.</summary>
internal sealed class TokenSampler(GenerationOptions options)
{
    private readonly Random random = new(options.Seed);

    /// <summary>The next token for the logits of one position, <c>[vocab]</c>.</summary>
    public long Next(ReadOnlySpan<float> logits)
    {
        if (options.Temperature == 0)
        {
            return Largest(logits);
        }

        double[] probabilities = Probabilities(logits, options);
        double target = random.NextDouble(), cumulative = 0;
        int last = 0;
        for (int token = 0; token < probabilities.Length; token++)
        {
            if (probabilities[token] == 0)
            {
                continue;
            }

            last = token;
            cumulative += probabilities[token];
            if (cumulative > target)
            {
                break;
            }
        }

        return last;
    }

    /// <summary>The distribution that tokens are drawn from; tokens that a filter removes have probability 0.</summary>
    internal static double[] Probabilities(ReadOnlySpan<float> logits, GenerationOptions options)
    {
        var scores = new double[logits.Length];
        for (int token = 0; token < scores.Length; token++)
        {
            scores[token] = Finite(logits[token], token) / options.Temperature;
        }

        if (options.TopK is { } k && k < scores.Length)
        {
            double[] sorted = [.. scores];
            Array.Sort(sorted);
            double smallest = sorted[^k];
            for (int token = 0; token < scores.Length; token++)
            {
                scores[token] = scores[token] < smallest ? double.NegativeInfinity : scores[token];
            }
        }

        double[] probabilities = Softmax(scores);
        return options.TopP < 1 ? KeepTopP(probabilities, options.TopP) : probabilities;
    }

    private static double[] KeepTopP(double[] probabilities, double topP)
    {
        // A stable order, so that of equal tokens the last is kept, as in transformers.
        int[] ascending = [.. Enumerable.Range(0, probabilities.Length).OrderBy(token => probabilities[token])];
        double cumulative = 0;
        foreach (int token in ascending.AsSpan(0, ascending.Length - 1))
        {
            cumulative += probabilities[token];
            if (cumulative > 1 - topP)
            {
                break;
            }

            probabilities[token] = 0;
        }

        double kept = probabilities.Sum();
        return Array.ConvertAll(probabilities, probability => probability / kept);
    }

    private static double[] Softmax(double[] scores)
    {
        double largest = scores.Max();
        double[] powers = Array.ConvertAll(scores, score => Math.Exp(score - largest));
        double sum = powers.Sum();
        return Array.ConvertAll(powers, power => power / sum);
    }

    private static long Largest(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int token = 0; token < logits.Length; token++)
        {
            best = Finite(logits[token], token) > logits[best] ? token : best;
        }

        return best;
    }

    private static float Finite(float logit, int token)
        => float.IsFinite(logit) ? logit : throw new InvalidOperationException($"The model's logit of token {token} is {logit}: its weights or activations overflowed, so no token can be chosen.");
}
