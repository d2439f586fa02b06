package import GRPCCore
package import NIOCore

/// A streaming method that is served on the event loops themselves, on the port of the gRPC services and beside them.
///
/// For the one method that has thousands of streams at once: a task, a queue and an encoding for each of them cost
/// several times what the message itself costs. On the wire it is gRPC like any other.
package protocol DirectMethod: Sendable {
    /// As in `/isobar.v1.Plans/Subscribe`.
    var path: String { get }

    /// A client calls. Called on the event loop of the call, like everything that follows.
    func open(_ call: any DirectCall) -> any DirectStream
}

/// The client's end of a call, as the method sees it; to be used on ``eventLoop`` only.
package protocol DirectCall: AnyObject {
    var eventLoop: any EventLoop { get }
    /// What the call came on.
    var connection: any DirectConnection { get }
    /// Who calls; `nil` on a link without identities, which is plain text on loopback.
    var peer: LinkPeer? { get }
    /// Whether a message would go out now. One that is written all the same waits in memory.
    var isWritable: Bool { get }
    /// Sends a message that ``DirectMessage/framed(_:)`` made.
    func write(_ framed: ByteBuffer)
    /// Ends the call: in order, or with an error. Nothing follows, and ``DirectStream/ended()`` is not called.
    func end(_ error: RPCError?)
}

/// A connection with calls of direct methods; to be used on its event loop only.
package protocol DirectConnection: AnyObject {
    /// Runs `body`; what it writes to calls of this connection goes out together.
    func gathering(_ body: () -> Void)
}

/// The method's end of a call.
package protocol DirectStream: AnyObject {
    /// The client sent a message.
    func received(_ message: ByteBuffer)
    /// ``DirectCall/isWritable`` is true again.
    func writable()
    /// The client has ended the call, or is gone.
    func ended()
}

/// The frame of a gRPC message: a byte that says whether it is compressed, its length in four, the message.
package enum DirectMessage {
    package static let prefixLength = 5

    package static func framed(_ message: [UInt8]) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: Self.prefixLength + message.count)
        buffer.writeInteger(0 as UInt8)
        buffer.writeInteger(UInt32(message.count))
        buffer.writeBytes(message)
        return buffer
    }

    /// Takes the first whole message out of what has been received.
    ///
    /// - Returns: `nil` while there is none.
    /// - Throws: `resourceExhausted` for one that is longer than `limit`, `unimplemented` for a compressed one.
    package static func next(in received: inout ByteBuffer, limit: Int) throws(RPCError) -> ByteBuffer? {
        guard
            let (compressed, length) = received.getMultipleIntegers(
                at: received.readerIndex,
                as: (UInt8, UInt32).self
            )
        else { return nil }
        guard compressed == 0 else { throw RPCError(code: .unimplemented, message: "compressed messages are not read") }
        guard length <= limit else {
            throw RPCError(code: .resourceExhausted, message: "a message of \(length) bytes; \(limit) are the limit")
        }
        guard received.readableBytes >= Self.prefixLength + Int(length) else { return nil }
        received.moveReaderIndex(forwardBy: Self.prefixLength)
        defer { received.discardReadBytes() }
        return received.readSlice(length: Int(length))
    }
}
