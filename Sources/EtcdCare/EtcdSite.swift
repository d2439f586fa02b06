package import FleetModel

/// Where the etcd member of one hub replica is, as every hub's file says.
package struct EtcdSite: Hashable, Sendable {
    /// The hub replica beside which it runs; also the member's name.
    package var replica: ReplicaName
    /// Where hubs reach it.
    package var client: EndpointAddress
    /// Where the other members reach it.
    package var peer: EndpointAddress

    package init(replica: ReplicaName, client: EndpointAddress, peer: EndpointAddress) {
        self.replica = replica
        self.client = client
        self.peer = peer
    }
}

/// A member, as the cluster itself knows it.
package struct EtcdPeer: Hashable, Sendable {
    package var id: UInt64
    /// Empty when it was added and has not been started.
    package var name: String
    /// URLs.
    package var peers: [String]
    /// URLs; empty until it has made itself known.
    package var clients: [String]

    package init(id: UInt64, name: String, peers: [String], clients: [String]) {
        self.id = id
        self.name = name
        self.peers = peers
        self.clients = clients
    }
}
