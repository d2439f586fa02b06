import FleetModel
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix

/// A client's HTTP/2 connection in plain text, or behind whatever a test puts in front of it.
final class StreamPeer: Sendable {
    struct State: Sendable {
        var isClosed = false
        /// The error code of the first GOAWAY.
        var goAway: HTTP2ErrorCode?
    }

    let channel: any Channel
    let state: Watched<State>
    private let multiplexer: NIOHTTP2Handler.StreamMultiplexer

    private init(channel: any Channel, state: Watched<State>, multiplexer: NIOHTTP2Handler.StreamMultiplexer) {
        self.channel = channel
        self.state = state
        self.multiplexer = multiplexer
    }

    static func connect(
        to address: EndpointAddress,
        window: Int = 65_535,
        tls: (@Sendable (any Channel) throws -> Void)? = nil
    ) async throws -> StreamPeer {
        let state = Watched(State())
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try tls?(channel)
                    var streams = NIOHTTP2Handler.StreamConfiguration()
                    streams.targetWindowSize = window
                    var connection = NIOHTTP2Handler.ConnectionConfiguration()
                    // The acknowledgements count as well.
                    connection.controlFrameRateLimit.maximumCount = 100_000
                    connection.initialSettings.append(HTTP2Setting(parameter: .initialWindowSize, value: window))
                    try channel.pipeline.syncOperations.addHandlers(
                        NIOHTTP2Handler(
                            mode: .client,
                            eventLoop: channel.eventLoop,
                            connectionConfiguration: connection,
                            streamConfiguration: streams,
                            inboundStreamInitializer: { $0.eventLoop.makeSucceededVoidFuture() }
                        ),
                        ConnectionEar(state: state)
                    )
                }
            }
            .connect(host: address.host, port: address.port).get()
        let multiplexer = try await channel.pipeline.handler(type: NIOHTTP2Handler.self).flatMap(\.multiplexer).get()
        return StreamPeer(channel: channel, state: state, multiplexer: multiplexer)
    }

    /// Opens a stream and sends its head.
    func request(
        _ method: String = "GET",
        _ path: String = "/",
        headers: [(String, String)] = [],
        ends: Bool = true,
        reads: Bool = true
    ) async throws -> StreamCall {
        let state = Watched(StreamCall.State())
        let channel = try await self.multiplexer.createStreamChannel { channel in
            channel.eventLoop.makeCompletedFuture {
                if !reads { try channel.syncOptions?.setOption(.autoRead, value: false) }
                try channel.pipeline.syncOperations.addHandler(StreamEar(state: state))
            }
        }.get()
        let fixed = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "test")]
        let block = HPACKHeaders(fixed + headers)
        channel.writeAndFlush(HTTP2Frame.FramePayload.headers(.init(headers: block, endStream: ends)), promise: nil)
        return StreamCall(channel: channel, state: state)
    }

    /// Sends a frame of the connection itself.
    func send(_ payload: HTTP2Frame.FramePayload) {
        let channel = self.channel
        channel.eventLoop.execute {
            let context = try? channel.pipeline.syncOperations.context(handlerType: ConnectionEar.self)
            context?.writeAndFlush(NIOAny(HTTP2Frame(streamID: .rootStream, payload: payload)), promise: nil)
        }
    }

    func close() { self.channel.close(promise: nil) }
}

/// One request on a ``StreamPeer``.
final class StreamCall: Sendable {
    struct State: Sendable {
        var heads: [HPACKHeaders] = []
        var body = ""
        var bytes = 0
        var isWhole = false
        var isClosed = false
        var reset: HTTP2ErrorCode?

        var status: String? { self.heads.last { $0.first(name: ":status") != nil }?.first(name: ":status") }
        /// What came after the body.
        var trailers: HPACKHeaders? { self.heads.last.flatMap { $0.contains(name: ":status") ? nil : $0 } }
    }

    let channel: any Channel
    let state: Watched<State>

    init(channel: any Channel, state: Watched<State>) {
        self.channel = channel
        self.state = state
    }

    func send(_ body: String, ends: Bool = false) {
        let data = IOData.byteBuffer(ByteBuffer(string: body))
        self.channel.writeAndFlush(HTTP2Frame.FramePayload.data(.init(data: data, endStream: ends)), promise: nil)
    }

    func end(trailers: [(String, String)]) {
        let block = HPACKHeaders(trailers)
        self.channel.writeAndFlush(
            HTTP2Frame.FramePayload.headers(.init(headers: block, endStream: true)),
            promise: nil
        )
    }

    func reset() { self.channel.close(promise: nil) }

    @discardableResult
    func whole() async throws -> State { try await self.state.wait { $0.isWhole || $0.reset != nil } }

    @discardableResult
    func closed() async throws -> State { try await self.state.wait { $0.isClosed } }
}

private final class StreamEar: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload

    private let state: Watched<StreamCall.State>

    init(state: Watched<StreamCall.State>) { self.state = state }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let payload = self.unwrapInboundIn(data)
        self.state.update { state in
            switch payload {
            case .headers(let block):
                state.heads.append(block.headers)
                state.isWhole = state.isWhole || block.endStream
            case .data(let data):
                if case .byteBuffer(let bytes) = data.data {
                    state.bytes += bytes.readableBytes
                    if state.body.utf8.count < 100_000 { state.body += String(buffer: bytes) }
                }
                state.isWhole = state.isWhole || data.endStream
            default: break
            }
        }
    }

    func channelInactive(context: ChannelHandlerContext) { self.state.update { $0.isClosed = true } }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let code = (error as? NIOHTTP2Errors.StreamClosed)?.errorCode
        self.state.update { $0.reset = code ?? .internalError }
    }
}

private final class ConnectionEar: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private let state: Watched<StreamPeer.State>

    init(state: Watched<StreamPeer.State>) { self.state = state }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .goAway(_, let code, _) = self.unwrapInboundIn(data).payload {
            self.state.update { $0.goAway = $0.goAway ?? code }
        }
    }

    func channelInactive(context: ChannelHandlerContext) { self.state.update { $0.isClosed = true } }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is NIOHTTP2Errors.StreamError { return }
        context.close(promise: nil)
    }
}
