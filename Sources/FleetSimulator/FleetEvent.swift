package import FleetModel

/// Something that happens to a world.
package enum FleetEvent: Hashable, Sendable {
    /// A region loses its power: engines, agent and gateways are silent; its clients go to the nearest other one.
    case fail(RegionName)
    case restore(RegionName)
    /// A cluster's engines die at once; connections to them are refused.
    case failCluster(ClusterName)
    case restoreCluster(ClusterName)
    /// A cluster takes no new sessions.
    case drain(ClusterName)
    case undrain(ClusterName)
    /// A cluster's engines are restarted one after the other; each is away for `pause`.
    case rollout(ClusterName, pause: Seconds)
    /// A region's clients send `factor` times as many requests for `length`.
    case burst(RegionName, factor: Double, length: Seconds)
    /// The hub stops or comes back; with it, plans.
    case hub(isUp: Bool)
    /// Every digest takes this much longer to the hub, in seconds.
    case digestDelay(Seconds)
    /// This share of digests is lost.
    case digestLoss(Double)
    /// What agents say of capacity is wrong by this share: too much and too little in turn, cluster by cluster.
    case capacityError(Double)

    /// Reads one event, as in `burst us-east 2 20s`.
    ///
    /// - Throws: ``FleetEventError`` that says what is accepted.
    package init(_ text: String) throws(FleetEventError) {
        let words = text.split(separator: " ").map(String.init)
        func refused() -> FleetEventError { FleetEventError(text: text) }
        func label<Name: LabelName>(_ index: Int) throws(FleetEventError) -> Name {
            guard words.count > index, let name = try? Name(words[index]) else { throw refused() }
            return name
        }
        func number(_ index: Int, unit: String = "") throws(FleetEventError) -> Double {
            guard words.count > index, words[index].hasSuffix(unit),
                let value = Double(words[index].dropLast(unit.count)), value >= 0, value.isFinite
            else { throw refused() }
            return value
        }
        let count: Int
        switch words.first {
        case "fail": (self, count) = (.fail(try label(1)), 2)
        case "restore": (self, count) = (.restore(try label(1)), 2)
        case "fail-cluster": (self, count) = (.failCluster(try label(1)), 2)
        case "restore-cluster": (self, count) = (.restoreCluster(try label(1)), 2)
        case "drain": (self, count) = (.drain(try label(1)), 2)
        case "undrain": (self, count) = (.undrain(try label(1)), 2)
        case "rollout": (self, count) = (.rollout(try label(1), pause: try number(2, unit: "s")), 3)
        case "burst":
            let length = try number(3, unit: "s")
            (self, count) = (.burst(try label(1), factor: try number(2), length: length), 4)
        case "hub-down": (self, count) = (.hub(isUp: false), 1)
        case "hub-up": (self, count) = (.hub(isUp: true), 1)
        case "digest-delay": (self, count) = (.digestDelay(try number(1, unit: "s")), 2)
        case "digest-loss": (self, count) = (.digestLoss(try number(1)), 2)
        case "capacity-error": (self, count) = (.capacityError(try number(1)), 2)
        default: throw refused()
        }
        guard words.count == count else { throw refused() }
    }

    /// Regions and clusters that it names.
    var names: (region: RegionName?, cluster: ClusterName?) {
        switch self {
        case .fail(let region), .restore(let region), .burst(let region, _, _): (region, nil)
        case .failCluster(let cluster), .restoreCluster(let cluster), .drain(let cluster), .undrain(let cluster),
            .rollout(let cluster, _):
            (nil, cluster)
        case .hub, .digestDelay, .digestLoss, .capacityError: (nil, nil)
        }
    }
}

/// An event that cannot be understood, or that names what is not in the world.
package struct FleetEventError: Error, Hashable, CustomStringConvertible {
    package let text: String
    /// What the name should have been, when only that was wrong.
    package var known: [String] = []

    package var description: String {
        guard self.known.isEmpty else {
            return "\"\(self.text)\" is not in the world; use one of \(self.known.joined(separator: ", "))"
        }
        return "event \"\(self.text)\" is not one of: fail REGION, restore REGION, fail-cluster CLUSTER, "
            + "restore-cluster CLUSTER, drain CLUSTER, undrain CLUSTER, rollout CLUSTER SECONDSs, "
            + "burst REGION FACTOR SECONDSs, hub-down, hub-up, digest-delay SECONDSs, digest-loss SHARE, "
            + "capacity-error SHARE"
    }
}

/// An event and when it happens, in seconds after the run begins.
package struct TimedEvent: Hashable, Sendable {
    package var at: Seconds
    package var event: FleetEvent

    package init(at: Seconds, event: FleetEvent) {
        self.at = at
        self.event = event
    }

    /// Reads `TIMEs EVENT`, as in `120s fail eu-west`.
    ///
    /// - Throws: ``FleetEventError`` that says what is accepted.
    package init(_ text: String) throws(FleetEventError) {
        let parts = text.split(separator: " ", maxSplits: 1).map(String.init)
        guard parts.count == 2, parts[0].hasSuffix("s"), let time = Double(parts[0].dropLast()), time >= 0 else {
            throw FleetEventError(text: text)
        }
        self.init(at: time, event: try FleetEvent(parts[1]))
    }
}
