import FleetModel
import NIOCore
import NIOHTTP2
import NIOPosix

/// One HTTP/2 connection to an upstream, shared by the requests of one event loop: each has a stream of its own.
///
/// It is made when it is first wanted, and given up when the upstream says so, when it dies, or when it has had no
/// stream for a while.
final class UpstreamSession: ChannelInboundHandler, Impatient {
    typealias InboundIn = HTTP2Frame

    typealias Opened = (Result<UpstreamConnection, ProxyFailure>) -> Void

    let address: EndpointAddress
    private let worker: Worker
    private let tls: TLSInstaller?
    private var context: ChannelHandlerContext?
    private var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
    /// Who asked before the connection was there.
    private var waiting: [Opened] = []
    private var streams = 0
    /// Whether more streams may be opened on it.
    private(set) var isOpen = true
    private(set) var deadline: NIODeadline?
    var heldAt: TimerWheel.Tick?

    init(address: EndpointAddress, worker: Worker, tls: TLSInstaller?) {
        self.address = address
        self.worker = worker
        self.tls = tls
    }

    var scheme: String { self.tls == nil ? "http" : "https" }

    // MARK: Opening

    func connect() {
        let bound = NIOLoopBound(self, eventLoop: self.worker.eventLoop)
        let configuration = self.worker.settings.http2
        self.worker.dial(self.address, tls: self.tls, negotiating: "h2") { channel in
            let frames = NIOHTTP2Handler(
                mode: .client,
                eventLoop: channel.eventLoop,
                connectionConfiguration: configuration.upstreamConnection,
                streamConfiguration: configuration.upstreamStream,
                inboundStreamInitializer: { $0.eventLoop.makeFailedFuture(ChannelError.operationUnsupported) }
            )
            try channel.pipeline.syncOperations.addHandlers(frames, bound.value)
        }.assumeIsolated().whenComplete { result in
            do {
                let channel = try result.get()
                let frames = try channel.pipeline.syncOperations.handler(type: NIOHTTP2Handler.self)
                let multiplexer = try frames.syncMultiplexer()
                // Flow control bounds what a stream may send; frames of the connection itself are always read.
                try channel.syncOptions?.setOption(.autoRead, value: true)
                self.multiplexer = multiplexer
                for opened in self.takeWaiting() { self.open(on: multiplexer, then: opened) }
            } catch {
                self.isOpen = false
                self.worker.forget(self)
                for opened in self.takeWaiting() { opened(.failure(ProxyFailure(connecting: error))) }
            }
        }
    }

    private func takeWaiting() -> [Opened] {
        defer { self.waiting = [] }
        return self.waiting
    }

    /// Opens a stream, now or when the connection is there.
    func open(then opened: @escaping Opened) {
        if let multiplexer { self.open(on: multiplexer, then: opened) } else { self.waiting.append(opened) }
    }

    private func open(on multiplexer: NIOHTTP2Handler.StreamMultiplexer, then opened: @escaping Opened) {
        let connection = UpstreamConnection(address: self.address, worker: self.worker, session: self)
        let bound = NIOLoopBound(connection, eventLoop: self.worker.eventLoop)
        self.streams += 1
        self.deadline = nil
        multiplexer.createStreamChannel { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.syncOptions?.setOption(.autoRead, value: false)
                try channel.pipeline.syncOperations.addHandlers(AnswerReader(connection: bound.value), bound.value)
            }
        }.assumeIsolated().whenComplete { result in
            switch result {
            case .success: opened(.success(connection))
            case .failure:
                self.ended()
                opened(.failure(.connectionClosed))
            }
        }
    }

    /// A stream is over.
    func ended() {
        self.streams -= 1
        guard self.streams == 0 else { return }
        if self.isOpen {
            self.deadline = .now() + .seconds(self.worker.settings.clientTimeout)
            self.worker.watch(self)
        } else {
            self.close()
        }
    }

    /// Without a stream for long enough.
    func giveUp() { self.close() }

    func close() {
        self.isOpen = false
        self.worker.forget(self)
        self.context?.close(promise: nil)
    }

    // MARK: ChannelInboundHandler

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.worker.counters.count { $0.upstreamOpen += 1 }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.worker.counters.count { $0.upstreamOpen -= 1 }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .goAway = self.unwrapInboundIn(data).payload else { return }
        // What is under way is finished; what comes next goes over another connection.
        self.isOpen = false
        self.worker.forget(self)
        if self.streams == 0 { self.close() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.isOpen = false
        self.worker.forget(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is NIOHTTP2Errors.StreamError { return }
        self.close()
    }
}

@available(*, unavailable)
extension UpstreamSession: Sendable {}

extension ProxySettings.HTTP2 {
    fileprivate var upstreamConnection: NIOHTTP2Handler.ConnectionConfiguration {
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        configuration.initialSettings = [
            HTTP2Setting(parameter: .enablePush, value: 0),
            HTTP2Setting(parameter: .initialWindowSize, value: self.streamWindow),
        ]
        configuration.targetWindowSize = self.connectionWindow
        // Servers of gRPC for Go measure bandwidth by PING.
        configuration.controlFrameRateLimit.maximumCount = self.maxControlFrames
        configuration.controlFrameRateLimit.windowLength = .seconds(self.window)
        return configuration
    }

    fileprivate var upstreamStream: NIOHTTP2Handler.StreamConfiguration {
        var configuration = NIOHTTP2Handler.StreamConfiguration()
        configuration.targetWindowSize = self.streamWindow
        configuration.outboundBufferSizeHighWatermark = 64 << 10
        configuration.outboundBufferSizeLowWatermark = 32 << 10
        // An upstream refuses what it cannot take, and many users share the connection.
        configuration.streamResetFrameRateLimit.maximumCount = self.maxControlFrames
        configuration.streamErrorRateLimit.maximumCount = self.maxControlFrames
        return configuration
    }
}
