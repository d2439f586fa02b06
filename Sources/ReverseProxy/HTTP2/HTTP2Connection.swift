import FleetModel
import NIOCore
import NIOHTTP2

/// A client's HTTP/2 connection: each of its streams is a ``ClientConnection``, and this is what they share.
///
/// A client can make a server work without sending a request: by resetting streams at once (CVE-2023-44487), by header
/// blocks without an end (CVE-2024-27316), by PING, SETTINGS and PRIORITY frames, by empty DATA frames, by streams that
/// end in an error. Each of these has a bound in ``ProxySettings/HTTP2``; past it the connection is closed with
/// ENHANCE_YOUR_CALM and counted.
final class HTTP2Connection: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    private let worker: Worker
    private var context: ChannelHandlerContext?
    private var isAtFault = false

    init(worker: Worker) { self.worker = worker }

    /// Puts everything that a connection of this kind needs behind TLS, or at the front.
    static func serve(_ channel: any Channel, worker: Worker, claims: ClientWire.Claims) throws {
        let settings = worker.settings
        let bound = NIOLoopBound(worker, eventLoop: channel.eventLoop)
        let manager = NIOHTTP2ServerConnectionManagementHandler(
            eventLoop: channel.eventLoop,
            configuration: .init(
                maxIdleTime: .seconds(settings.clientTimeout),
                maxAge: nil,
                maxGraceTime: .seconds(settings.drainTimeout),
                keepalive: nil
            )
        )
        let frames = NIOHTTP2Handler(
            mode: .server,
            eventLoop: channel.eventLoop,
            connectionConfiguration: settings.http2.connection(headerLimit: settings.headerLimit),
            streamConfiguration: settings.http2.stream,
            streamDelegate: manager.http2StreamDelegate
        ) { stream in
            stream.eventLoop.makeCompletedFuture {
                try stream.syncOptions?.setOption(.autoRead, value: false)
                let client = ClientConnection(worker: bound.value, wire: ClientWire(isStream: true, claims: claims))
                try stream.pipeline.syncOperations.addHandlers(StreamReader(client: client), client)
            }
        }
        // Flow control bounds what a stream may send; frames of the connection itself are always read.
        try channel.syncOptions?.setOption(.autoRead, value: true)
        let handlers = channel.pipeline.syncOperations
        try handlers.addHandlers(frames, manager, HTTP2Connection(worker: worker))
        // The connection was active before they came, and the manager counts idleness from then.
        try handlers.context(handler: frames).fireChannelActive()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.worker.add(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.worker.remove(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What one stream did wrong ends that stream.
        if error is NIOHTTP2Errors.StreamError { return }
        if !self.isAtFault, error is any NIOHTTP2Error { self.worker.counters.count { $0.http2Faults += 1 } }
        self.isAtFault = true
        context.close(promise: nil)
    }

    /// Tells the client by GOAWAY to open no more streams; the connection closes with its last one.
    func drain() {
        self.context?.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }

    func closeNow() { self.context?.close(promise: nil) }
}

@available(*, unavailable)
extension HTTP2Connection: Sendable {}

extension ProxySettings.HTTP2 {
    fileprivate func connection(headerLimit: Int) -> NIOHTTP2Handler.ConnectionConfiguration {
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        configuration.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: self.maxStreams),
            HTTP2Setting(parameter: .maxHeaderListSize, value: headerLimit),
            HTTP2Setting(parameter: .initialWindowSize, value: self.streamWindow),
        ]
        configuration.targetWindowSize = self.connectionWindow
        configuration.maximumBufferedControlFrames = self.maxControlFramesWaiting
        // The default of 200 in 30 s closes on clients that measure bandwidth by PING, such as those of gRPC for Go.
        configuration.controlFrameRateLimit.maximumCount = self.maxControlFrames
        configuration.controlFrameRateLimit.windowLength = .seconds(self.window)
        return configuration
    }

    fileprivate var stream: NIOHTTP2Handler.StreamConfiguration {
        var configuration = NIOHTTP2Handler.StreamConfiguration()
        configuration.targetWindowSize = self.streamWindow
        configuration.outboundBufferSizeHighWatermark = 64 << 10
        configuration.outboundBufferSizeLowWatermark = 32 << 10
        configuration.streamResetFrameRateLimit.maximumCount = self.maxResets
        configuration.streamResetFrameRateLimit.windowLength = .seconds(self.window)
        configuration.streamErrorRateLimit.maximumCount = self.maxStreamErrors
        configuration.streamErrorRateLimit.windowLength = .seconds(self.window)
        return configuration
    }
}
