import GRPCCore
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOSSL
import WireProtocol
import X509

/// The first handler of every HTTP/2 stream of a server: it takes the streams of direct methods for itself, and steps
/// out of the way of all others.
///
/// The handlers behind it, which gRPC has already put there, then see nothing but the end of the stream.
final class DirectCallHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    /// Longer messages from a client end its call.
    static let messageMax = 1 << 20

    /// Bytes of a call that may be on their way to the network before it takes no more.
    static let unsentMax = 8 << 10

    let eventLoop: any EventLoop
    private let writer: DirectConnectionHandler
    private let methods: [String: any DirectMethod]
    private let callGuard: CallGuard?
    private var context: ChannelHandlerContext?
    private var stream: (any DirectStream)?
    private var received = ByteBuffer()
    private var caller: LinkPeer?
    /// Of a direct call.
    private var streamID: HTTP2StreamID?
    /// Whether the connection takes more, as the channel last said.
    private var isConnectionWritable = false
    private var unsent = 0
    private var isWriting = false
    private var isOver = false

    private var isDirect: Bool { self.streamID != nil }

    private init(
        _ eventLoop: any EventLoop,
        _ writer: DirectConnectionHandler,
        _ methods: [String: any DirectMethod],
        _ callGuard: CallGuard?
    ) {
        self.eventLoop = eventLoop
        self.writer = writer
        self.methods = methods
        self.callGuard = callGuard
    }

    /// Puts a handler before all others of a stream; on its event loop.
    ///
    /// - Throws: When its connection has no ``DirectConnectionHandler``.
    static func install(
        in stream: any Channel,
        methods: [String: any DirectMethod],
        callGuard: CallGuard?
    ) throws {
        guard let connection = stream.parent else { throw ChannelError.inappropriateOperationForState }
        let writer = try connection.pipeline.syncOperations.handler(type: DirectConnectionHandler.self)
        let handler = DirectCallHandler(stream.eventLoop, writer, methods, callGuard)
        try stream.pipeline.syncOperations.addHandler(handler, position: .first)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.isDirect else { return self.begin(context, data) }
        switch self.unwrapInboundIn(data) {
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data { self.receive(bytes) }
            if data.endStream { self.clientEnded() }
        case .headers(let headers):
            if headers.endStream { self.clientEnded() }
        default:
            break
        }
    }

    /// The first frame says whose stream it is.
    private func begin(_ context: ChannelHandlerContext, _ data: NIOAny) {
        guard case .headers(let head) = self.unwrapInboundIn(data),
            let path = head.headers.first(name: ":path"),
            let method = self.methods[path],
            let options = context.channel.syncOptions,
            let streamID = try? options.getOption(HTTP2StreamChannelOptions.streamID)
        else {
            context.fireChannelRead(data)
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
            return
        }
        self.streamID = streamID
        self.isConnectionWritable = context.channel.isWritable
        // Read on from here: otherwise each message asks all of gRPC's handlers behind this one whether to.
        try? options.setOption(.autoRead, value: false)
        do throws(RPCError) {
            guard head.headers.first(name: ":method") == "POST",
                head.headers.first(name: "content-type")?.hasPrefix("application/grpc") == true
            else { throw RPCError(code: .invalidArgument, message: "not a gRPC call") }
            let remote = context.channel.parent?.remoteAddress.map { "\($0)" } ?? "unknown"
            self.caller = try self.callGuard?.peer(of: context.channel.parent, remote: remote, calling: path)
        } catch {
            self.sendTrailers(error, onlyThem: true)
            return
        }
        let headers: HPACKHeaders = [":status": "200", "content-type": "application/grpc"]
        context.writeAndFlush(self.wrapOutboundOut(.headers(.init(headers: headers))), promise: nil)
        self.stream = method.open(self)
    }

    /// Most frames are one whole message, which is read where it lies.
    private func receive(_ bytes: ByteBuffer) {
        var bytes = bytes
        if self.received.readableBytes == 0 { self.received = bytes } else { self.received.writeBuffer(&bytes) }
        self.readMessages()
        // An empty slice would still hold all of what the connection read at once.
        if self.received.readableBytes == 0 { self.received = ByteBuffer() }
    }

    private func readMessages() {
        while !self.isOver {
            do throws(RPCError) {
                guard let message = try DirectMessage.next(in: &self.received, limit: Self.messageMax) else { return }
                self.stream?.received(message)
            } catch {
                self.stream?.ended()
                self.end(error)
            }
        }
    }

    private func clientEnded() {
        self.leave()
        self.end(nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if self.isDirect { context.read() } else { context.fireChannelReadComplete() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard self.isDirect else { return context.fireChannelWritabilityChanged() }
        self.isConnectionWritable = context.channel.isWritable
        if self.isWritable { self.stream?.writable() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.leave()
        self.isOver = true
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard self.isDirect else { return context.fireErrorCaught(error) }
        // The peer has reset the stream, or the connection is lost.
        self.leave()
        context.close(promise: nil)
    }

    /// Tells the method, once.
    private func leave() {
        let stream = self.stream
        self.stream = nil
        stream?.ended()
    }

    private func sendTrailers(_ error: RPCError?, onlyThem: Bool) {
        self.isOver = true
        guard let context = self.context else { return }
        var trailers: HPACKHeaders = onlyThem ? [":status": "200", "content-type": "application/grpc"] : [:]
        trailers.add(name: "grpc-status", value: "\(error?.code.rawValue ?? 0)")
        if let error { trailers.add(name: "grpc-message", value: Self.percentEncoded(error.message)) }
        let payload = HTTP2Frame.FramePayload.headers(.init(headers: trailers, endStream: true))
        // Closed at our end too, or the stream would wait for a client that does not end its own.
        let loopBound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(self.wrapOutboundOut(payload)).whenComplete { _ in
            loopBound.value.close(promise: nil)
        }
    }

    /// As gRPC wants it: printable ASCII without the percent sign as it is.
    private static func percentEncoded(_ text: String) -> String {
        let hexadecimal = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "%") {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension DirectCallHandler: DirectCall {
    var peer: LinkPeer? { self.caller }

    var connection: any DirectConnection { self.writer }

    var isWritable: Bool { self.isConnectionWritable && self.unsent < Self.unsentMax }

    func write(_ framed: ByteBuffer) {
        guard !self.isOver, let streamID = self.streamID else { return }
        let count = framed.readableBytes
        self.unsent += count
        let promise = self.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in self.sent(count) }
        self.isWriting = true
        self.writer.write(framed, to: streamID, promise: promise)
        self.isWriting = false
    }

    private func sent(_ count: Int) {
        let wasWritable = self.isWritable
        self.unsent -= count
        // Who writes sees for himself, and is not called from his own call.
        if self.isWritable, !wasWritable, !self.isWriting { self.stream?.writable() }
    }

    func end(_ error: RPCError?) {
        guard !self.isOver else { return }
        self.stream = nil
        self.sendTrailers(error, onlyThem: false)
    }
}
