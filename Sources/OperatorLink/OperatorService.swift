import FleetModel
package import GRPCCore
package import WireProtocol

/// What a hub answers to operators; called from many calls at once.
///
/// It throws ``OperatorRefusal`` for what is at fault in a request.
package protocol OperatorDesk: Sendable {
    func apply(_ request: Isobar_V1_ApplyRequest, by caller: OperatorCaller) async throws -> Isobar_V1_ChangeAnswer
    func delete(_ request: Isobar_V1_DeleteRequest, by caller: OperatorCaller) async throws -> Isobar_V1_ChangeAnswer
    func get(_ request: Isobar_V1_GetRequest) async throws -> Isobar_V1_ResourceList
    /// What there is, then what changes, as far as the request asks for it; ends with its reader.
    func events(_ request: Isobar_V1_GetRequest) async throws -> AsyncStream<[Isobar_V1_ResourceEvent]>
    func audit(_ request: Isobar_V1_AuditRequest) async throws -> Isobar_V1_AuditAnswer
    func history(_ request: Isobar_V1_HistoryRequest) async throws -> Isobar_V1_HistoryAnswer
    func recall(_ request: Isobar_V1_RecallRequest) async throws -> Isobar_V1_KeptPlan
    func status() async throws -> Isobar_V1_FleetStatus
    func gossip() async throws -> Isobar_V1_GossipStatus
    func backup() async throws -> [Isobar_V1_BackupEntry]
}

/// Who calls.
package struct OperatorCaller: Hashable, Sendable {
    /// The name in the operator's certificate; `nil` on a link without identities.
    package var name: String?
    /// Where the call comes from.
    package var address: String

    package init(name: String?, address: String) {
        self.name = name
        self.address = address
    }

    init(_ context: ServerContext) {
        self.init(name: context.peer?.identity.name, address: context.remotePeer)
    }
}

/// Why a hub did not do what an operator asked.
package struct OperatorRefusal: Error, Hashable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// The request cannot be read or carried out as it is.
        case badRequest
        /// There is no such thing.
        case absent
        /// The caller's certificate does not allow it.
        case forbidden
        /// The hub cannot do it now, or nobody knows whether it has.
        case unavailable
        /// No hub has heard of it.
        case unreachable
    }

    package let kind: Kind
    package let reason: String

    package init(_ kind: Kind, _ reason: String) {
        self.kind = kind
        self.reason = reason
    }

    package var description: String { self.reason }
}

/// The hub's end of operators' calls.
package struct OperatorService<Desk: OperatorDesk>: Isobar_V1_Operators.SimpleServiceProtocol {
    /// A message of the backup has about so many bytes at most.
    private static var partSize: Int { 1 << 20 }

    private let desk: Desk

    package init(desk: Desk) { self.desk = desk }

    package func apply(
        request: Isobar_V1_ApplyRequest,
        context: ServerContext
    ) async throws -> Isobar_V1_ChangeAnswer {
        try await Self.answering { try await self.desk.apply(request, by: OperatorCaller(context)) }
    }

    package func delete(
        request: Isobar_V1_DeleteRequest,
        context: ServerContext
    ) async throws -> Isobar_V1_ChangeAnswer {
        try await Self.answering { try await self.desk.delete(request, by: OperatorCaller(context)) }
    }

    package func get(request: Isobar_V1_GetRequest, context: ServerContext) async throws -> Isobar_V1_ResourceList {
        try await Self.answering { try await self.desk.get(request) }
    }

    package func watch(
        request: Isobar_V1_GetRequest,
        response: RPCWriter<Isobar_V1_ResourceEvent>,
        context: ServerContext
    ) async throws {
        try await Self.answering {
            let stream = try await self.desk.events(request)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { for await events in stream { try await response.write(contentsOf: events) } }
                // A reader that has left, or a hub that ends, is not noticed while nothing changes.
                group.addTask { try await context.cancellation.cancelled }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }

    package func audit(request: Isobar_V1_AuditRequest, context: ServerContext) async throws -> Isobar_V1_AuditAnswer {
        try await Self.answering { try await self.desk.audit(request) }
    }

    package func history(
        request: Isobar_V1_HistoryRequest,
        context: ServerContext
    ) async throws -> Isobar_V1_HistoryAnswer {
        try await Self.answering { try await self.desk.history(request) }
    }

    package func recall(request: Isobar_V1_RecallRequest, context: ServerContext) async throws -> Isobar_V1_KeptPlan {
        try await Self.answering { try await self.desk.recall(request) }
    }

    package func status(request: Isobar_V1_StatusRequest, context: ServerContext) async throws -> Isobar_V1_FleetStatus
    {
        try await Self.answering { try await self.desk.status() }
    }

    package func gossip(
        request: Isobar_V1_GossipRequest,
        context: ServerContext
    ) async throws -> Isobar_V1_GossipStatus {
        try await Self.answering { try await self.desk.gossip() }
    }

    package func backup(
        request: Isobar_V1_BackupRequest,
        response: RPCWriter<Isobar_V1_BackupPart>,
        context: ServerContext
    ) async throws {
        try await Self.answering {
            var part = Isobar_V1_BackupPart()
            var size = 0
            for entry in try await self.desk.backup() {
                part.entries.append(entry)
                size += entry.value.count + entry.key.utf8.count
                guard size >= Self.partSize else { continue }
                try await response.write(part)
                (part, size) = (Isobar_V1_BackupPart(), 0)
            }
            if !part.entries.isEmpty { try await response.write(part) }
        }
    }

    private static func answering<Answer>(_ body: () async throws -> Answer) async throws -> Answer {
        do {
            return try await body()
        } catch let refusal as OperatorRefusal {
            let code: RPCError.Code =
                switch refusal.kind {
                case .badRequest: .invalidArgument
                case .absent: .notFound
                case .forbidden: .permissionDenied
                case .unavailable, .unreachable: .unavailable
                }
            throw RPCError(code: code, message: refusal.reason)
        } catch let error as WireError {
            throw RPCError(code: .invalidArgument, message: error.description)
        } catch let error as RPCError {
            throw error
        } catch {
            throw RPCError(code: .unavailable, message: "\(error)")
        }
    }
}
