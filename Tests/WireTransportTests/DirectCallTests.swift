import CertificateAuthority
import FleetModel
import Foundation
import GRPCCore
import GossipTransport
import Logging
import NIOCore
import SwiftProtobuf
import Synchronization
import TestKit
import Testing
import WireProtocol

@testable import WireTransport

/// Answers every message with a heartbeat of as many generations as there were messages, and a refusal with an error.
private final class Counting: DirectMethod {
    let path = "/isobar.v1.Plans/Subscribe"
    let callers = Mutex<[String]>([])
    let ended = Mutex(0)

    private final class Stream: DirectStream {
        let call: any DirectCall
        let counting: Counting
        var count: UInt64 = 0

        init(_ call: any DirectCall, _ counting: Counting) {
            self.call = call
            self.counting = counting
        }

        func received(_ message: ByteBuffer) {
            self.count += 1
            let heard = try? Isobar_V1_GatewayMessage(serializedBytes: Array(message.readableBytesView))
            if case .refusal(let refusal)? = heard?.kind {
                return self.call.end(RPCError(code: .aborted, message: "no: \(refusal.reason)"))
            }
            var answer = Isobar_V1_HubMessage()
            answer.heartbeat.generation = self.count
            guard let bytes: [UInt8] = try? answer.serializedBytes() else { return }
            self.call.write(DirectMessage.framed(bytes))
        }

        func writable() {}
        func ended() { self.counting.ended.withLock { $0 += 1 } }
    }

    func open(_ call: any DirectCall) -> any DirectStream {
        self.callers.withLock { $0.append(call.peer?.identity.name ?? "somebody") }
        return Stream(call, self)
    }
}

/// Pours out numbered messages for as long as the call takes them.
private final class Pouring: DirectMethod {
    static let count = 600
    static let padding = Data(count: 64 << 10)

    let path = "/isobar.v1.Plans/Subscribe"
    let poured = Mutex(0)

    private final class Stream: DirectStream {
        let call: any DirectCall
        let pouring: Pouring

        init(_ call: any DirectCall, _ pouring: Pouring) {
            self.call = call
            self.pouring = pouring
        }

        func received(_: ByteBuffer) { self.writable() }

        func writable() {
            while self.call.isWritable {
                let number = self.pouring.poured.withLock { $0 }
                guard number < Pouring.count else { return }
                var message = Isobar_V1_HubMessage()
                message.plan.hash = Data("\(number)".utf8)
                message.plan.body = Pouring.padding
                guard let bytes: [UInt8] = try? message.serializedBytes() else { return }
                self.call.write(DirectMessage.framed(bytes))
                self.pouring.poured.withLock { $0 += 1 }
            }
        }

        func ended() {}
    }

    func open(_ call: any DirectCall) -> any DirectStream { Stream(call, self) }
}

@Suite("A method on the event loops")
struct DirectCallTests {
    private let counting = Counting()

    /// A server with a service of gRPC's beside the method, and a client of it, for as long as a story lasts.
    private func tell(
        of method: (any DirectMethod)? = nil,
        server: LinkCredentials? = nil,
        client: LinkCredentials? = nil,
        _ story: @escaping @Sendable (GRPCClient<WireClient.Transport>) async throws -> Void
    ) async throws {
        let bound = NewestWins<EndpointAddress>()
        let (cluster, region) = (try ClusterName("a"), try RegionName("us-east"))
        let batch = SampleBatch(cluster: cluster, region: region, pool: try PoolName("llama"), samples: [])
        let wire = try WireServer(
            listen: EndpointAddress(host: "127.0.0.1", port: 0),
            services: [SampleService(batches: NewestWins([batch]), now: { 0 })],
            methods: [method ?? self.counting],
            credentials: server,
            onListening: { bound.send($0) }
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            for links in [server, client] { if let links { group.addTask { try await links.run() } } }
            group.addTask { try await wire.run() }
            let address = try await eventually("it listens") { bound.current }
            let link = try WireClient(to: address, field: "hub", role: .hub, credentials: client)
            group.addTask { try await link.run() }
            try await story(link.client)
            link.client.beginGracefulShutdown()
            group.cancelAll()
        }
    }

    /// Says some messages, of which the last may be a refusal.
    ///
    /// - Returns: The generation of each answer.
    private static func say(
        _ count: Int,
        refusing: String? = nil,
        to client: GRPCClient<WireClient.Transport>
    ) async throws -> [UInt64] {
        try await Isobar_V1_Plans.Client(wrapping: client).subscribe { writer in
            for number in 0..<count {
                var message = Isobar_V1_GatewayMessage()
                message.subscribe.gateway = String(repeating: "x", count: 1 + 20_000 * (number % 2))
                try await writer.write(message)
            }
            guard let refusing else { return }
            var message = Isobar_V1_GatewayMessage()
            message.refusal.reason = refusing
            try await writer.write(message)
        } onResponse: { response in
            var found: [UInt64] = []
            for try await message in response.messages { found.append(message.heartbeat.generation) }
            return found
        }
    }

    @Test("speaks gRPC: messages of any length both ways, and an orderly end; services of gRPC's own live beside it")
    func speaks() async throws {
        try await self.tell { [self] client in
            #expect(try await Self.say(40, to: client) == Array(1...40))
            #expect(try await Self.say(0, to: client) == [])
            try await eventually("both calls have ended") { self.counting.ended.withLock { $0 } == 2 }
            var watch = Isobar_V1_WatchSamples()
            watch.gateway = "gw"
            let isServed = try await Isobar_V1_Samples.Client(wrapping: client).watch(watch) { response in
                for try await _ in response.messages { return true }
                return false
            }
            #expect(isServed)
        }
    }

    @Test("ends a call with an error that the client reads, whatever is in its text")
    func errors() async throws {
        try await self.tell { client in
            let error = await #expect(throws: RPCError.self) {
                _ = try await Self.say(2, refusing: "50 % – ü", to: client)
            }
            #expect(error?.code == .aborted && error?.message == "no: 50 % – ü")
        }
    }

    @Test("is told when a client goes away in the middle")
    func leaves() async throws {
        try await self.tell { [self] client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await Isobar_V1_Plans.Client(wrapping: client).subscribe { writer in
                        try await writer.write(Isobar_V1_GatewayMessage())
                        // Until it is cancelled.
                        for await _ in AsyncStream.makeStream(of: Never.self).stream {}
                    } onResponse: { response in
                        for try await _ in response.messages {}
                    }
                }
                try await eventually("it has come") { !self.counting.callers.withLock { $0.isEmpty } }
                group.cancelAll()
            }
            try await eventually("it has gone") { self.counting.ended.withLock { $0 } == 1 }
        }
    }

    @Test("stops writing to a client that does not read, and goes on where it stopped when it does")
    func waits() async throws {
        let pouring = Pouring()
        try await self.tell(of: pouring) { client in
            let numbers = try await Isobar_V1_Plans.Client(wrapping: client).subscribe { writer in
                try await writer.write(Isobar_V1_GatewayMessage())
                // Open until the answer has been read.
                for await _ in AsyncStream.makeStream(of: Never.self).stream {}
            } onResponse: { response in
                var before = 0
                try await eventually("the method waits") {
                    let poured = pouring.poured.withLock { $0 }
                    defer { before = poured }
                    return poured == before && (1..<Pouring.count).contains(poured)
                }
                var numbers: [String] = []
                for try await message in response.messages {
                    numbers.append(String(decoding: message.plan.hash, as: UTF8.self))
                    if numbers.count == Pouring.count { break }
                }
                return numbers
            }
            #expect(numbers.elementsEqual((0..<Pouring.count).map(String.init)))
        }
    }

    @Test("knows its caller by the certificate, and lets in only whom the method is for")
    func guarded() async throws {
        let folder = try TemporaryFolder()
        let authority = AuthorityFolder(path: folder.file("pki"))
        _ = try authority.create(fleet: try FleetName("acme"), lifetime: 86_400_000, now: Date())
        func credentials(_ role: Role, _ name: String) throws -> LinkCredentials {
            let held = try authority.issue(role: role, name: name, lifetime: 86_400, now: Date())
            let files = LinkFiles(
                certificate: held.certificateFile,
                key: held.keyFile,
                authority: authority.authorityFile
            )
            return try LinkCredentials(files: files, logger: Logger(label: "test"))
        }
        try await self.tell(server: try credentials(.hub, "hub-0"), client: try credentials(.gateway, "us-east")) {
            client in
            let answers = try await Self.say(3, to: client)
            #expect(answers == [1, 2, 3])
        }
        #expect(self.counting.callers.withLock { $0 } == ["us-east"])
        let hub = try credentials(.hub, "hub-1")
        try await self.tell(server: hub, client: try credentials(.agent, "us-east-a")) { client in
            let error = await #expect(throws: RPCError.self) { _ = try await Self.say(1, to: client) }
            #expect(error?.code == .permissionDenied)
            #expect(error?.message == "wrong_role: may not call isobar.v1.Plans")
        }
        #expect(hub.counts[.wrongRole] == 1)
        #expect(self.counting.callers.withLock { $0.count } == 1)
    }
}

@Suite("The frame of a message")
struct DirectMessageTests {
    @Test("is found whatever pieces it comes in, and a bad one is refused by name")
    func frames() throws {
        let sent = [[], [1, 2, 3], [UInt8](repeating: 7, count: 300)] as [[UInt8]]
        var bytes = ByteBuffer()
        for message in sent { bytes.writeImmutableBuffer(DirectMessage.framed(message)) }
        for step in [1, 3, 7, 400] {
            var (rest, received, found) = (bytes, ByteBuffer(), [[UInt8]]())
            while rest.readableBytes > 0 {
                if var piece = rest.readSlice(length: min(step, rest.readableBytes)) { received.writeBuffer(&piece) }
                while let message = try DirectMessage.next(in: &received, limit: 300) {
                    found.append(Array(message.readableBytesView))
                }
            }
            #expect(found == sent)
        }
        var long = DirectMessage.framed([UInt8](repeating: 7, count: 301))
        let error = #expect(throws: RPCError.self) { try DirectMessage.next(in: &long, limit: 300) }
        #expect(error?.code == .resourceExhausted)
        var compressed = ByteBuffer(bytes: [1, 0, 0, 0, 1, 9])
        #expect(throws: RPCError.self) { try DirectMessage.next(in: &compressed, limit: 300) }
    }
}
