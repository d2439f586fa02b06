import ArgumentParser
import Foundation
import NIOCore
import NIOPosix

/// Plays any number of model servers whose metrics page never changes: every address of the loopback leads to it.
///
/// It does as little as it can, so that the machine is left to what is measured: one thread, and one buffer that every
/// answer shares.
struct PageServer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pages",
        abstract: "Serve one metrics page to every request, for bench-agent; prints the port."
    )

    @Option(help: ArgumentHelp("The page.", valueName: "file"))
    var page: String

    func run() throws {
        let body = try Data(contentsOf: URL(fileURLWithPath: self.page))
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: \(body.count)\r\n\r\n"
        let answer = ByteBuffer(bytes: Array(head.utf8) + Array(body))
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4_096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(PageHandler(answer: answer))
                }
            }
            .bind(host: "0.0.0.0", port: 0).wait()
        try FileHandle.standardOutput.write(contentsOf: Data("\(server.localAddress?.port ?? 0)\n".utf8))
        try server.closeFuture.wait()
    }
}

/// Answers as often as the end of a request's head comes in; a request has no body.
private final class PageHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let answer: ByteBuffer
    /// How much of the blank line that ends a head has been seen.
    private var seen = 0

    init(answer: ByteBuffer) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let end: [UInt8] = [13, 10, 13, 10]
        for byte in self.unwrapInboundIn(data).readableBytesView {
            self.seen = byte == end[self.seen] ? self.seen + 1 : byte == 13 ? 1 : 0
            guard self.seen == end.count else { continue }
            self.seen = 0
            context.writeAndFlush(self.wrapOutboundOut(self.answer), promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
