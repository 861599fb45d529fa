namespace DoraSharp;

/// <summary>Rows of an embedding that train in place of the base's. PEFT: <c>trainable_token_indices</c>.</summary>
public sealed record TrainableTokens
{
    /// <summary>Names the rows.</summary>
    /// <param name="module">The embedding's path or the end of it; <see langword="null"/> for the model's input embedding.</param>
    /// <param name="indices">The rows, each once, 0 or more.</param>
    /// <exception cref="ArgumentException">There are no rows, one is negative or occurs twice.</exception>
    public TrainableTokens(string? module, params IReadOnlyList<int> indices)
    {
        ArgumentNullException.ThrowIfNull(indices);
        HashSet<int> seen = [];
        foreach (int index in indices)
        {
            if (index < 0 || !seen.Add(index))
            {
                throw new ArgumentException($"Token indices must be 0 or more, each once; {index} is {(index < 0 ? "below" : "there twice")}.", nameof(indices));
            }
        }

        if (seen.Count == 0)
        {
            throw new ArgumentException("There are no token indices.", nameof(indices));
        }

        Module = module;
        Indices = [.. indices];
    }

    /// <summary>The embedding's path or the end of it; <see langword="null"/> for the model's input embedding.</summary>
    public string? Module { get; }

    /// <summary>The rows.</summary>
    public IReadOnlyList<int> Indices { get; }
}
