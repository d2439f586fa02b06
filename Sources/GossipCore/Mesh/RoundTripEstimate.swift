package import FleetModel

/// One link's round trip: its smooth mean and spread, and the least of the last minute.
///
/// The mean and the spread say when an answer is overdue (RFC 6298); the least says how far away the other end is,
/// since queues and lost packets only add.
package struct RoundTripEstimate: Hashable, Sendable {
    /// The least is over one to two of these, in seconds.
    static let window: Seconds = 60

    /// Exponentially weighted, in seconds; `nil` before the first measurement.
    package private(set) var smooth: Seconds?
    /// Mean deviation from ``smooth``, in seconds.
    package private(set) var spread: Seconds = 0
    private var least: Seconds = .infinity
    private var leastBefore: Seconds = .infinity
    private var windowBegan: Seconds = 0

    package init() {}

    /// Takes one measurement, in seconds; what cannot be a round trip is left out.
    package mutating func measure(_ roundTrip: Seconds, now: Seconds) {
        guard roundTrip >= 0, roundTrip < 60 else { return }
        if let smooth = self.smooth {
            self.spread += (abs(roundTrip - smooth) - self.spread) / 4
            self.smooth = smooth + (roundTrip - smooth) / 8
        } else {
            self.smooth = roundTrip
            self.spread = roundTrip / 2
            self.windowBegan = now
        }
        if now - self.windowBegan >= Self.window {
            self.leastBefore = now - self.windowBegan < 2 * Self.window ? self.least : .infinity
            self.least = .infinity
            self.windowBegan = now
        }
        self.least = min(self.least, roundTrip)
    }

    /// Takes the time of a longer way that leads over this link: the link's own round trip is no longer.
    ///
    /// One measurement may be far too long, since one end stood still or its clock was set; where the next is long in
    /// coming, this mends it.
    mutating func bound(_ roundTrip: Seconds) {
        guard roundTrip >= 0, let smooth = self.smooth else { return }
        self.smooth = min(smooth, roundTrip)
        self.least = min(self.least, roundTrip)
    }

    /// The least round trip of the last minute or two, in seconds.
    package var minimum: Seconds? {
        let minimum = min(self.least, self.leastBefore)
        return minimum.isFinite ? minimum : nil
    }

    /// Half the least: what the way alone adds to the age of what is sent now.
    var oneWay: Seconds { (self.minimum ?? 0) / 2 }

    /// When to stop waiting for an answer, in seconds: srtt + 4·rttvar.
    var timeout: Seconds? { self.smooth.map { $0 + 4 * self.spread } }
}

/// The round trip between two regions, as measured on links of the gossip.
package struct RegionRoundTrip: Hashable, Sendable {
    package var source: RegionName
    package var target: RegionName
    /// The smooth mean, in seconds.
    package var smooth: Seconds
    /// The least of the last minute, in seconds.
    package var minimum: Seconds

    package init(source: RegionName, target: RegionName, smooth: Seconds, minimum: Seconds) {
        self.source = source
        self.target = target
        self.smooth = smooth
        self.minimum = minimum
    }

    var size: Int { self.source.text.utf8.count + self.target.text.utf8.count + 4 + 10 + 2 }
}
