import NIOCore

/// How messages go on the wire: the other way of ``MessageReader``.
enum MessageWriter {
    /// A piece of a body that is longer than this is not copied but written beside the rest.
    static let copyLimit = 4_096

    static func write(_ head: RequestHead, to bytes: inout ByteBuffer) {
        bytes.writeString(head.method)
        bytes.writeInteger(UInt8(ascii: " "))
        bytes.writeString(head.uri)
        bytes.writeStaticString(" HTTP/1.1\r\n")
        self.write(head.headers, to: &bytes)
    }

    static func write(_ head: ResponseHead, to bytes: inout ByteBuffer) {
        bytes.writeStaticString(head.isOld ? "HTTP/1.0 " : "HTTP/1.1 ")
        let status = head.status
        for digit in [status / 100, status / 10 % 10, status % 10] { bytes.writeInteger(UInt8(0x30 + digit)) }
        bytes.writeInteger(UInt8(ascii: " "))
        bytes.writeString(head.reason)
        bytes.writeStaticString("\r\n")
        self.write(head.headers, to: &bytes)
    }

    private static func write(_ fields: Fields, to bytes: inout ByteBuffer) {
        bytes.writeBytes(fields.bytes)
        bytes.writeStaticString("\r\n")
    }

    /// What stands before a chunk of so many bytes, which are more than none; a line break stands behind it.
    static func writeChunkSize(_ count: Int, to bytes: inout ByteBuffer) {
        var shift = (Int.bitWidth - 1 - count.leadingZeroBitCount) / 4 * 4
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: count >> shift & 15)
            bytes.writeInteger(digit < 10 ? 0x30 + digit : 0x57 + digit)
            shift -= 4
        }
        bytes.writeStaticString("\r\n")
    }

    /// The end of a body in chunks.
    static func writeLastChunk(_ trailers: Fields?, to bytes: inout ByteBuffer) {
        bytes.writeStaticString("0\r\n")
        if let trailers { bytes.writeBytes(trailers.bytes) }
        bytes.writeStaticString("\r\n")
    }
}
