import EtcdAPI
package import EtcdCare
package import FleetModel
import GRPCCore
package import StateStore

/// The members themselves: who belongs to the cluster, and how each one is.
extension EtcdStore {
    /// The members as one of them knows them; `nil` when it does not answer.
    package func members(asking address: EndpointAddress) async -> [EtcdPeer]? {
        guard let member = self.members.all.first(where: { $0.address == address }) else { return nil }
        let answer = try? await member.cluster.memberList(
            Etcdserverpb_MemberListRequest(),
            options: self.members.options
        )
        return answer?.members.map(EtcdPeer.init)
    }

    /// Adds a member that is to be started after this.
    package func add(peer: String) async throws(StoreError) {
        var request = Etcdserverpb_MemberAddRequest()
        request.peerUrls = [peer]
        try await self.change("add the member at \(peer)") { [request] member, options in
            _ = try await member.cluster.memberAdd(request, options: options)
        }
    }

    package func remove(member id: UInt64) async throws(StoreError) {
        var request = Etcdserverpb_MemberRemoveRequest()
        request.id = id
        try await self.change("remove a member") { [request] member, options in
            do {
                _ = try await member.cluster.memberRemove(request, options: options)
            } catch let error as RPCError where error.code == .notFound {
                // It was removed before.
            }
        }
    }

    /// Asks one member after the other; a refusal, such as while members have known each other for a few seconds only,
    /// says nothing against the member that the store asks.
    private func change(
        _ operation: String,
        _ body: (EtcdMember, CallOptions) async throws -> Void
    ) async throws(StoreError) {
        var reasons: Set<String> = []
        for member in self.members.all {
            do {
                return try await body(member, self.members.options)
            } catch let error as RPCError {
                reasons.insert(error.message)
            } catch {
                reasons.insert("\(error)")
            }
        }
        throw StoreError(operation: operation, reason: reasons.sorted().joined(separator: "; "))
    }

    /// How every member is, in the order of the settings; `nil` for one that does not answer.
    package func standings() async -> [EtcdStanding?] {
        let options = self.members.options
        return await withTaskGroup(of: (Int, EtcdStanding?).self) { group in
            for (place, member) in self.members.all.enumerated() {
                group.addTask {
                    let status = try? await member.maintenance.status(Etcdserverpb_StatusRequest(), options: options)
                    return (place, status.map { EtcdStanding(member.address, $0) })
                }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    /// Does what housekeeping asks for; a member that is made smaller does nothing else for as long.
    package func perform(_ step: Housekeeping.Step) async throws(StoreError) {
        let address: EndpointAddress
        switch step {
        case .defragment(let member), .moveLeader(from: let member, to: _), .disarm(member: _, at: let member):
            address = member
        }
        guard let member = self.members.all.first(where: { $0.address == address }) else { return }
        var options = self.members.options
        options.timeout = .seconds(60)
        do {
            switch step {
            case .defragment:
                _ = try await member.maintenance.defragment(Etcdserverpb_DefragmentRequest(), options: options)
            case .moveLeader(_, let id):
                var request = Etcdserverpb_MoveLeaderRequest()
                request.targetID = id
                _ = try await member.maintenance.moveLeader(request, options: options)
            case .disarm(let id, _):
                var request = Etcdserverpb_AlarmRequest()
                request.action = .deactivate
                request.memberID = id
                request.alarm = .nospace
                _ = try await member.maintenance.alarm(request, options: options)
            }
        } catch {
            throw StoreError(operation: "\(step)", reason: "\(address): \(error)")
        }
    }
}

extension EtcdPeer {
    init(_ member: Etcdserverpb_Member) {
        self.init(id: member.id, name: member.name, peers: member.peerUrls, clients: member.clientUrls)
    }
}

extension EtcdStanding {
    init(_ address: EndpointAddress, _ status: Etcdserverpb_StatusResponse) {
        self.init(
            address: address,
            id: status.header.memberID,
            leader: status.leader,
            size: status.dbSize,
            used: status.dbSizeInUse,
            version: status.version,
            faults: status.errors
        )
    }
}
