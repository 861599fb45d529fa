using System.Buffers.Binary;
using System.Text;

namespace DoraSharp.Tests.Files;

/// <summary>Crafts safetensors files byte by byte, valid ones and others.</summary>
internal static class SafetensorsBytes
{
    public static byte[] Create(string header, params byte[] data) => Create(Encoding.UTF8.GetBytes(header), data);

    public static byte[] Create(byte[] header, params byte[] data) => [.. Length((ulong)header.Length), .. header, .. data];

    public static byte[] Length(ulong value)
    {
        byte[] bytes = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return bytes;
    }
}
