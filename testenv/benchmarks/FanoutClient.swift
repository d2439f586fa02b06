import ArgumentParser
import FleetModel
import Glibc
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import SwiftProtobuf
import WireProtocol

/// Many gateways that do nothing but acknowledge plans, at as little cost as can be, so that the server is what is
/// measured: they look at the version and at nothing else.
struct FanoutClient: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fanout-client",
        abstract: "Subscribe as many gateways and acknowledge every plan; see bench-fanout."
    )

    @Option var port: Int
    @Option(help: "Gateways.") var streams = 1_000
    @Option(help: "Connections that they share.") var connections = 10
    @Option(help: "Regions that they are spread over; a connection is of one.") var regions = 50
    @Option(help: "The first connection's region.") var firstRegion = 0
    @Option(help: "Folder of certificates, made by isobar pki; plain text without.") var pki: String?

    /// Handshakes at a time: more would be refused as too many.
    private static let connectingMax = 32

    func run() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var contexts: [String: NIOSSLContext] = [:]
        var open: [EventLoopFuture<Void>] = []
        for number in 0..<self.connections {
            let region = FanoutPlans.region((self.firstRegion + number) % self.regions).text
            if let pki, contexts[region] == nil { contexts[region] = try Self.context(pki, region) }
            let streams = self.streams * (number + 1) / self.connections - self.streams * number / self.connections
            open.append(self.connect(group, region: region, number: number, streams: streams, tls: contexts[region]))
            if open.count == Self.connectingMax {
                try EventLoopFuture.andAllSucceed(open, on: group.next()).wait()
                open = []
            }
        }
        try EventLoopFuture.andAllSucceed(open, on: group.next()).wait()
        print("open")
        fflush(nil)
        // Until whoever started it is done.
        while readLine() != nil {}
    }

    private static func context(_ pki: String, _ region: String) throws -> NIOSSLContext {
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.minimumTLSVersion = .tlsv13
        settings.certificateVerification = .noHostnameVerification
        settings.trustRoots = .file("\(pki)/ca.crt")
        settings.certificateChain = try NIOSSLCertificate.fromPEMFile("\(pki)/gateway-\(region).crt")
            .map { .certificate($0) }
        settings.privateKey = .privateKey(try NIOSSLPrivateKey(file: "\(pki)/gateway-\(region).key", format: .pem))
        return try NIOSSLContext(configuration: settings)
    }

    private func connect(
        _ group: MultiThreadedEventLoopGroup,
        region: String,
        number: Int,
        streams: Int,
        tls: NIOSSLContext?
    ) -> EventLoopFuture<Void> {
        // Of its own: a gateway that comes twice has left its first stream.
        let process = getpid()
        return ClientBootstrap(group: group)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                // All of it before the first byte: a server speaks as soon as it is connected.
                var settings = NIOHTTP2Handler.ConnectionConfiguration()
                settings.targetWindowSize = 1 << 23
                let connection = settings
                return channel.eventLoop.makeCompletedFuture {
                    guard let tls else { return }
                    let handler = try NIOSSLClientHandler(context: tls, serverHostname: nil)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }.flatMap {
                    channel.configureHTTP2Pipeline(
                        mode: .client,
                        connectionConfiguration: connection,
                        streamConfiguration: .init()
                    ) { $0.close() }
                }.map { _ in }
            }
            .connect(host: "127.0.0.1", port: self.port)
            .flatMap { channel in
                channel.eventLoop.submit {
                    try channel.pipeline.syncOperations.handler(type: NIOHTTP2Handler.self).syncMultiplexer()
                }
            }
            .flatMap { multiplexer in
                let loop = group.next()
                let made = (0..<streams).map { stream -> EventLoopFuture<Void> in
                    let first = loop.makePromise(of: Void.self)
                    let channel = loop.makePromise(of: (any Channel).self)
                    channel.futureResult.cascadeFailure(to: first)
                    multiplexer.createStreamChannel(promise: channel) { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(
                                Subscriber(name: "gw-\(process)-\(number)-\(stream)", region: region, first: first)
                            )
                        }
                    }
                    return first.futureResult
                }
                return EventLoopFuture.andAllSucceed(made, on: loop)
            }
    }
}

private final class Subscriber: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let name: String
    private let region: String
    private let first: EventLoopPromise<Void>
    private var received = ByteBuffer()
    private var isFirst = true

    init(name: String, region: String, first: EventLoopPromise<Void>) {
        self.name = name
        self.region = region
        self.first = first
    }

    func channelActive(context: ChannelHandlerContext) {
        let head: HPACKHeaders = [
            ":method": "POST", ":scheme": "http", ":path": "/isobar.v1.Plans/Subscribe", ":authority": "127.0.0.1",
            "content-type": "application/grpc", "te": "trailers",
        ]
        context.write(self.wrapOutboundOut(.headers(.init(headers: head))), promise: nil)
        var message = Isobar_V1_GatewayMessage()
        message.subscribe.gateway = self.name
        message.subscribe.region = self.region
        let bytes: [UInt8] = (try? message.serializedBytes()) ?? []
        let data = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(DirectMessage.framed(bytes))))
        context.writeAndFlush(self.wrapOutboundOut(data), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .data(let data) = self.unwrapInboundIn(data), case .byteBuffer(var bytes) = data.data else { return }
        self.received.writeBuffer(&bytes)
        while let message = try? DirectMessage.next(in: &self.received, limit: 1 << 24) {
            if self.isFirst { self.first.succeed() }
            self.isFirst = false
            guard let version = Self.version(in: message) else { continue }
            // GatewayMessage.acknowledgement is field 2, and its version field 1.
            var answer = context.channel.allocator.buffer(capacity: 16 + version.readableBytes)
            answer.writeInteger(0 as UInt8)
            answer.writeInteger(UInt32(version.readableBytes + 4))
            answer.writeBytes([0x12, UInt8(version.readableBytes + 2), 0x0A, UInt8(version.readableBytes)])
            answer.writeImmutableBuffer(version)
            context.writeAndFlush(
                self.wrapOutboundOut(.data(.init(data: .byteBuffer(answer)))),
                promise: nil
            )
        }
        self.received.discardReadBytes()
    }

    func channelInactive(context: ChannelHandlerContext) { self.first.fail(ChannelError.eof) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.first.fail(error) }

    /// The version of a plan or a delta, encoded as it is sent back.
    ///
    /// It is the first field of the first field of both. A heartbeat, which is field 2, wants no answer.
    private static func version(in message: ByteBuffer) -> ByteBuffer? {
        var rest = message
        guard let kind = rest.readInteger(as: UInt8.self), kind != 0x12, Self.length(&rest) != nil,
            rest.readInteger(as: UInt8.self) == 0x0A, Self.length(&rest) != nil,
            rest.readInteger(as: UInt8.self) == 0x0A, let length = Self.length(&rest)
        else { return nil }
        return rest.readSlice(length: length)
    }

    private static func length(_ buffer: inout ByteBuffer) -> Int? {
        var (value, shift) = (0, 0)
        while let byte = buffer.readInteger(as: UInt8.self), shift < 35 {
            value |= Int(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
        }
        return nil
    }
}
