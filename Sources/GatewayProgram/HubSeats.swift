import FleetModel

/// Which hub replicas a gateway holds streams to: two of those it knows, and others when one of them is lost.
///
/// Two, so that the loss of one costs nothing; not all, so that a replica does not carry every gateway of the fleet.
struct HubSeats: Sendable {
    static let seatsMax = 2

    private let hubs: Int
    /// The hub of each seat, by its place in the file.
    private(set) var taken: [Int]

    /// - Parameters:
    ///   - hubs: How many hubs the gateway knows.
    ///   - gateway: Its name, by which gateways spread over the hubs.
    init(hubs: Int, gateway: GatewayName) {
        self.hubs = hubs
        // FNV-1a: the same in every process, which Swift's own hash is not.
        let hash = gateway.text.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3
        }
        let first = hubs == 0 ? 0 : Int(hash % UInt64(hubs))
        self.taken = (0..<min(Self.seatsMax, hubs)).map { (first + $0) % hubs }
    }

    /// The seat lost its hub: it goes to the next one that no other seat has, or back to its own when there is none.
    mutating func move(_ seat: Int) {
        let others = Set(self.taken.indices.filter { $0 != seat }.map { self.taken[$0] })
        for step in 1...self.hubs {
            let next = (self.taken[seat] + step) % self.hubs
            if others.contains(next) { continue }
            self.taken[seat] = next
            return
        }
    }
}
