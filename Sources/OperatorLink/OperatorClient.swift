package import GRPCCore
package import WireProtocol

/// An operator's end of calls to a hub; every call has a deadline.
package struct OperatorClient<Transport: ClientTransport>: Sendable {
    private let client: Isobar_V1_Operators.Client<Transport>
    private let hub: String
    private let options: CallOptions

    /// - Parameters:
    ///   - client: The connection.
    ///   - hub: The hub's address, for messages.
    ///   - deadline: How long one call may take.
    package init(_ client: GRPCClient<Transport>, hub: String, deadline: Duration = .seconds(10)) {
        self.client = Isobar_V1_Operators.Client(wrapping: client)
        self.hub = hub
        var options = CallOptions.defaults
        options.timeout = deadline
        // The hub bounds what it accepts; what it answers may be as long as the history's largest plan.
        options.maxResponseMessageBytes = 64 << 20
        // grpc-swift-nio-transport 2.9 holds answers to the limit of requests.
        options.maxRequestMessageBytes = 64 << 20
        self.options = options
    }

    package func apply(_ request: Isobar_V1_ApplyRequest) async throws -> Isobar_V1_ChangeAnswer {
        try await self.asking { try await self.client.apply(request, options: self.options) }
    }

    package func delete(_ request: Isobar_V1_DeleteRequest) async throws -> Isobar_V1_ChangeAnswer {
        try await self.asking { try await self.client.delete(request, options: self.options) }
    }

    package func get(_ request: Isobar_V1_GetRequest) async throws -> Isobar_V1_ResourceList {
        try await self.asking { try await self.client.get(request, options: self.options) }
    }

    /// Takes events until the hub ends the stream, `take` says that it has seen enough, or the task is cancelled.
    package func watch(
        _ request: Isobar_V1_GetRequest,
        _ take: @escaping @Sendable (Isobar_V1_ResourceEvent) -> Bool
    ) async throws {
        var options = CallOptions.defaults
        options.timeout = nil
        try await self.asking {
            try await self.client.watch(request, options: options) { response in
                for try await event in response.messages where !take(event) { return }
            }
        }
    }

    package func audit(_ request: Isobar_V1_AuditRequest) async throws -> Isobar_V1_AuditAnswer {
        try await self.asking { try await self.client.audit(request, options: self.options) }
    }

    package func history(_ request: Isobar_V1_HistoryRequest) async throws -> Isobar_V1_HistoryAnswer {
        try await self.asking { try await self.client.history(request, options: self.options) }
    }

    package func recall(_ request: Isobar_V1_RecallRequest) async throws -> Isobar_V1_KeptPlan {
        try await self.asking { try await self.client.recall(request, options: self.options) }
    }

    package func status() async throws -> Isobar_V1_FleetStatus {
        try await self.asking { try await self.client.status(Isobar_V1_StatusRequest(), options: self.options) }
    }

    package func gossip() async throws -> Isobar_V1_GossipStatus {
        try await self.asking { try await self.client.gossip(Isobar_V1_GossipRequest(), options: self.options) }
    }

    package func backup() async throws -> [Isobar_V1_BackupEntry] {
        try await self.asking {
            try await self.client.backup(Isobar_V1_BackupRequest(), options: self.options) { response in
                var entries: [Isobar_V1_BackupEntry] = []
                for try await part in response.messages { entries += part.entries }
                return entries
            }
        }
    }

    /// - Throws: ``OperatorRefusal`` with what the hub said, or that it said nothing.
    private func asking<Answer>(_ body: () async throws -> Answer) async throws -> Answer {
        do {
            return try await body()
        } catch let error as RPCError {
            switch error.code {
            case .invalidArgument: throw OperatorRefusal(.badRequest, error.message)
            case .notFound: throw OperatorRefusal(.absent, error.message)
            case .permissionDenied:
                let fix = "show an operator's certificate, from `isobar pki issue operator NAME`"
                throw OperatorRefusal(.forbidden, "the hub at \(self.hub) refuses: \(error.message); \(fix)")
            case .unimplemented:
                throw OperatorRefusal(.unavailable, "\(self.hub) is no hub of this version: \(error.message)")
            case .deadlineExceeded, .cancelled:
                throw OperatorRefusal(.unavailable, "the hub at \(self.hub) does not answer; is it running?")
            case .unavailable where "\(error)".contains("onnection refused"):
                throw OperatorRefusal(
                    .unreachable,
                    "no hub listens at \(self.hub); start it, or name another one with --hub or ISOBAR_HUB"
                )
            default:
                let cause = error.cause.map { ": \($0)" } ?? ""
                throw OperatorRefusal(.unavailable, "the hub at \(self.hub): \(error.message)\(cause)")
            }
        }
    }
}
