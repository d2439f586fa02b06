package import FleetModel

/// How a member comes into its cluster: what is to be done before its etcd is started, as a value.
///
/// A member with data goes on. One without finds out by the others which of three it is: one of those that make the
/// cluster, one that somebody has added, or one that has lost its data. The last may not come back as it was: it has
/// voted and forgotten, and what a majority held with its help would be lost. So the cluster removes it and adds it
/// anew, which takes a majority of the others, and then it learns everything from them.
///
/// Source: D. Ongaro, "Consensus: Bridging Theory and Practice", 2014, section 4.1 (membership changes one by one) and
/// section 11.7.3 (a server that lost its storage).
package struct MemberStart: Sendable {
    /// What one of the other members says.
    package enum Answer: Hashable, Sendable {
        case silent
        case members([EtcdPeer])
    }

    package enum Step: Hashable, Sendable {
        /// Ask again in a moment.
        case wait
        case remove(id: UInt64)
        case add(peer: String)
        case start(EtcdLaunch)
        /// It will not come to be without an operator.
        case refuse(String)
    }

    /// Members that start together find each other within this, in seconds: only then is silence taken for a cluster
    /// that has never been.
    package static let patience: Seconds = 2

    private let settings: EtcdLaunch.Settings

    package init(_ settings: EtcdLaunch.Settings) { self.settings = settings }

    private var ownPeer: String { self.settings.url(self.settings.site.peer) }

    /// - Parameters:
    ///   - hasData: Whether its folder holds a log.
    ///   - answers: Of the other members, as they are now.
    ///   - waited: Since it was first asked what to do, in seconds.
    /// - Returns: What to do now; after anything but a start, ask again.
    package func next(hasData: Bool, answers: [Answer], waited: Seconds) -> Step {
        let heard = answers.compactMap { answer -> [EtcdPeer]? in
            if case .members(let members) = answer { return members }
            return nil
        }
        // Of those that answer, the one that knows most members has the newest picture, or as good a one.
        let known = heard.max { $0.count < $1.count }
        if hasData {
            if let known, self.own(in: known) == nil, waited >= Self.patience {
                return .refuse(
                    "managedEtcd.data: \(self.settings.data) is of a member that the cluster has removed; "
                        + "move the folder away, and the hub joins with an empty one"
                )
            }
            return self.own(in: known ?? []) == nil && known != nil ? .wait : self.start(.existing, known)
        }
        guard let known else {
            return waited < Self.patience && self.settings.sites.count > 1 ? .wait : self.start(.new, nil)
        }
        guard let own = self.own(in: known) else { return .add(peer: self.ownPeer) }
        // It has made itself known once, or its host has another address now: in either case it is not what it was.
        if !own.clients.isEmpty || !own.peers.contains(self.ownPeer) { return .remove(id: own.id) }
        return own.name.isEmpty ? self.start(.existing, known) : self.start(.new, nil)
    }

    private func own(in members: [EtcdPeer]) -> EtcdPeer? {
        members.first { $0.peers.contains(self.ownPeer) }
            ?? members.first { $0.name == self.settings.site.replica.text }
    }

    private func start(_ state: EtcdLaunch.State, _ known: [EtcdPeer]?) -> Step {
        let own = EtcdLaunch.Member(name: self.settings.site.replica.text, peer: self.ownPeer)
        let others =
            known?.filter { !$0.peers.contains(self.ownPeer) && $0.name != own.name }.flatMap { member in
                // One that has not been started has no name yet, and the list needs one for each.
                let name = member.name.isEmpty ? "member-\(member.id)" : member.name
                return member.peers.map { EtcdLaunch.Member(name: name, peer: $0) }
            }
            ?? self.settings.sites.filter { $0 != self.settings.site }.map { site in
                EtcdLaunch.Member(name: site.replica.text, peer: self.settings.url(site.peer))
            }
        return .start(
            EtcdLaunch(settings: self.settings, state: state, members: (others + [own]).sorted { $0.name < $1.name })
        )
    }
}
