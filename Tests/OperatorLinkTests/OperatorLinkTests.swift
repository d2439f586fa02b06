import GRPCCore
import GRPCInProcessTransport
import OperatorLink
import TestKit
import Testing
import WireProtocol

/// A desk that answers with little, and refuses what it is told to.
private struct Desk: OperatorDesk {
    func apply(_ request: Isobar_V1_ApplyRequest, by caller: OperatorCaller) async throws -> Isobar_V1_ChangeAnswer {
        throw OperatorRefusal(.badRequest, "nothing to apply by \(request.actor)")
    }
    func delete(_ request: Isobar_V1_DeleteRequest, by caller: OperatorCaller) async throws -> Isobar_V1_ChangeAnswer {
        throw WireError(field: "key.kind", reason: "unknown")
    }
    func get(_ request: Isobar_V1_GetRequest) async throws -> Isobar_V1_ResourceList {
        throw OperatorRefusal(.absent, "no \(request.name)")
    }
    func events(_ request: Isobar_V1_GetRequest) throws -> AsyncStream<[Isobar_V1_ResourceEvent]> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: [Isobar_V1_ResourceEvent].self,
            bufferingPolicy: .bufferingNewest(4)
        )
        for kinds in [["current", "current"], ["created"], ["deleted"]] {
            continuation.yield(
                kinds.map { kind in
                    var event = Isobar_V1_ResourceEvent()
                    event.kind = kind
                    return event
                }
            )
        }
        continuation.finish()
        return stream
    }
    func audit(_ request: Isobar_V1_AuditRequest) async throws -> Isobar_V1_AuditAnswer { Isobar_V1_AuditAnswer() }
    func history(_ request: Isobar_V1_HistoryRequest) async throws -> Isobar_V1_HistoryAnswer {
        Isobar_V1_HistoryAnswer()
    }
    func recall(_ request: Isobar_V1_RecallRequest) async throws -> Isobar_V1_KeptPlan { Isobar_V1_KeptPlan() }
    func status() async throws -> Isobar_V1_FleetStatus {
        var status = Isobar_V1_FleetStatus()
        status.hub = "test"
        return status
    }
    func gossip() async throws -> Isobar_V1_GossipStatus { Isobar_V1_GossipStatus() }
    func backup() async throws -> [Isobar_V1_BackupEntry] {
        (0..<5).map { number in
            var entry = Isobar_V1_BackupEntry()
            entry.key = "\(number)"
            entry.value = .init(repeating: UInt8(number), count: 600_000)
            return entry
        }
    }
}

@Suite("Operators' calls")
struct OperatorLinkTests {
    private func asking(
        _ body: @escaping @Sendable (OperatorClient<InProcessTransport.Client>) async throws -> Void
    )
        async throws
    {
        let transport = InProcessTransport()
        try await withGRPCServer(transport: transport.server, services: [OperatorService(desk: Desk())]) { _ in
            try await withGRPCClient(transport: transport.client) { client in
                try await body(OperatorClient(client, hub: "test", deadline: .seconds(60)))
            }
        }
    }

    @Test("a refusal arrives as the kind that it was, with its words")
    func refusals() async throws {
        try await self.asking { client in
            var apply = Isobar_V1_ApplyRequest()
            apply.actor = "ann"
            let bad = await #expect(throws: OperatorRefusal.self) { _ = try await client.apply(apply) }
            #expect(bad == OperatorRefusal(.badRequest, "nothing to apply by ann"))
            let unread = await #expect(throws: OperatorRefusal.self) {
                _ = try await client.delete(Isobar_V1_DeleteRequest())
            }
            #expect(unread?.kind == .badRequest && unread?.reason.contains("key.kind") == true)
            let absent = await #expect(throws: OperatorRefusal.self) {
                _ = try await client.get(Isobar_V1_GetRequest())
            }
            #expect(absent?.kind == .absent)
        }
    }

    @Test("a backup arrives in parts and whole, and a watch ends when its reader has seen enough")
    func streams() async throws {
        try await self.asking { client in
            let entries = try await client.backup()
            #expect(entries.map(\.key) == ["0", "1", "2", "3", "4"])
            #expect(entries.allSatisfy { $0.value.count == 600_000 })
            let seen = NewestWins<[String]>([])
            try await client.watch(Isobar_V1_GetRequest()) { event in
                seen.send((seen.current ?? []) + [event.kind])
                return event.kind != "created"
            }
            #expect(seen.current == ["current", "current", "created"])
            #expect(try await client.status().hub == "test")
        }
    }
}
