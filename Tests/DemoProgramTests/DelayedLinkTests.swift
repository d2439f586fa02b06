import FleetModel
import Foundation
import NIOCore
import NIOPosix
import TestKit
import Testing

@testable import DemoProgram

@Suite struct DelayLineTests {
    @Test func whatIsSentDuringTheHandshakeDepartsWhenItIsOver() {
        var line = DelayLine<String>(oneWay: 0.05, openAt: 10.1)
        line.push("hello", size: 5, now: 10)
        line.push("again", size: 5, now: 10.02)
        line.push("later", size: 5, now: 10.2)
        #expect(line.size == 15)
        #expect(abs((line.nextDue ?? 0) - 10.15) < 1e-9)
        #expect(line.pop(now: 10.1).isEmpty)
        #expect(line.pop(now: 10.16) == ["hello", "again"])
        #expect(line.size == 5)
        #expect(line.pop(now: 10.26) == ["later"])
        #expect(line.nextDue == nil && line.size == 0)
    }

    @Test func aLongQueueComesOutInOrder() {
        var line = DelayLine<Int>(oneWay: 1, openAt: 0)
        var out: [Int] = []
        for step in 0..<1_000 {
            line.push(step, size: 1, now: Double(step) / 100)
            out += line.pop(now: Double(step) / 100)
        }
        out += line.pop(now: 100)
        #expect(out == Array(0..<1_000))
    }
}

@Suite struct DelayedLinkTests {
    private let group = MultiThreadedEventLoopGroup.singleton
    private let clock = ContinuousClock()

    private func connect(_ address: EndpointAddress) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        try await ClientBootstrap(group: group)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: address.host, port: address.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true)
                    )
                }
            }
    }

    private let echo: @Sendable (any Channel) throws -> Void = {
        try $0.pipeline.syncOperations.addHandler(EchoHandler())
    }

    @Test func theFirstAnswerTakesTwoRoundTripsAndTheNextOneOne() async throws {
        try await serve(echo) { target in
            let link = try await DelayedLink.open(to: target, roundTrip: 0.1, on: group)
            let begun = clock.now
            try await connect(link.address).executeThenClose { inbound, outbound in
                var answers = inbound.makeAsyncIterator()
                try await outbound.write(ByteBuffer(string: "one"))
                #expect(try await answers.next() == ByteBuffer(string: "one"))
                let first = clock.now - begun
                #expect(first >= .milliseconds(200), "\(first)")
                let again = clock.now
                try await outbound.write(ByteBuffer(string: "two"))
                #expect(try await answers.next() == ByteBuffer(string: "two"))
                let second = clock.now - again
                #expect(second >= .milliseconds(100), "\(second)")
            }
            try await link.close()
        }
    }

    @Test(.timeLimit(.minutes(1))) func noneOfManyConnectionsIsForgotten() async throws {
        try await serve(echo) { target in
            let link = try await DelayedLink.open(to: target, roundTrip: 0.002, on: group)
            try await withThrowingDiscardingTaskGroup { tasks in
                for number in 0..<300 {
                    tasks.addTask {
                        try await self.connect(link.address).executeThenClose { inbound, outbound in
                            try await outbound.write(ByteBuffer(integer: number))
                            var answers = inbound.makeAsyncIterator()
                            #expect(try await answers.next() == ByteBuffer(integer: number))
                        }
                    }
                }
            }
            try await link.close()
        }
    }

    @Test func manyBytesArriveInOrderAndAHalfCloseFollowsThem() async throws {
        let size = 5 * RelayHandler.limit
        try await serve(echo) { target in
            let link = try await DelayedLink.open(to: target, roundTrip: 0.02, on: group)
            try await connect(link.address).executeThenClose { inbound, outbound in
                try await withThrowingTaskGroup(of: Void.self) { tasks in
                    tasks.addTask {
                        for chunk in 0..<(size / 65_536) {
                            try await outbound.write(ByteBuffer(repeating: UInt8(chunk & 255), count: 65_536))
                        }
                        outbound.finish()
                    }
                    var received = 0
                    var isOrdered = true
                    for try await bytes in inbound {
                        for byte in bytes.readableBytesView {
                            if byte != UInt8((received / 65_536) & 255) { isOrdered = false }
                            received += 1
                        }
                    }
                    #expect(received == size && isOrdered)
                    try await tasks.waitForAll()
                }
            }
            try await link.close()
        }
    }

    @Test func aReceiverThatDoesNotReadStopsTheSender() async throws {
        // Reads nothing: its channel never asks for bytes.
        try await serve({ try $0.syncOptions?.setOption(.autoRead, value: false) }) { target in
            let link = try await DelayedLink.open(to: target, roundTrip: 0.002, on: group)
            let client = try await ClientBootstrap(group: group)
                .connect(host: link.address.host, port: link.address.port).get()
            // Far more than the link and the sockets' buffers hold: most of it must stay with the sender.
            for _ in 0..<1_024 { client.write(ByteBuffer(repeating: 1, count: 65_536), promise: nil) }
            client.flush()
            var held = -1
            var still = 0
            try await eventually("the sender's buffer stops shrinking") {
                let now = try await client.getOption(.bufferedWritableBytes).get()
                still = now == held ? still + 1 : 0
                held = now
                return still == 50
            }
            let left = try await client.eventLoop.submit { client.isWritable }.get()
            #expect(!left)
            try await client.close()
            try await link.close()
        }
    }

    @Test func aTargetThatRefusesIsLearnedAfterOneRoundTrip() async throws {
        let dead = try DeadAddress()
        let link = try await DelayedLink.open(to: dead.address, roundTrip: 0.1, on: group)
        let begun = clock.now
        let client = try await ClientBootstrap(group: group)
            .connect(host: link.address.host, port: link.address.port).get()
        try await client.closeFuture.get()
        let taken = clock.now - begun
        #expect(taken >= .milliseconds(100), "\(taken)")
        try await link.close()
    }

    @Test func aResetComesThroughAfterTheDelay() async throws {
        // Resets the connection when the first byte comes.
        final class Resetter: ChannelInboundHandler {
            typealias InboundIn = ByteBuffer
            func channelRead(context: ChannelHandlerContext, data: NIOAny) {
                _ = (context.channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
                context.close(promise: nil)
            }
        }
        try await serve({ try $0.pipeline.syncOperations.addHandler(Resetter()) }) { target in
            let link = try await DelayedLink.open(to: target, roundTrip: 0.05, on: group)
            let begun = clock.now
            let client = try await ClientBootstrap(group: group)
                .connect(host: link.address.host, port: link.address.port).get()
            try await client.writeAndFlush(ByteBuffer(string: "x"))
            try await client.closeFuture.get()
            #expect(clock.now - begun >= .milliseconds(100))
            try await link.close()
        }
    }
}
