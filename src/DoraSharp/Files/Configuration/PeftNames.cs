namespace DoraSharp;

/// <summary>The texts that stand for the values of an enumeration in a file.</summary>
internal sealed class PeftNames<T>(params (string Text, T Value)[] names)
    where T : struct, Enum
{
    public string Of(T value) => Array.Find(names, name => name.Value.Equals(value)).Text;

    public T Read(PeftValue value)
    {
        string text = value.Text();
        int index = Array.FindIndex(names, name => name.Text == text);
        return index >= 0 ? names[index].Value : throw value.Wrong(string.Join(" or ", names.Select(static name => $"\"{name.Text}\"")));
    }
}
