import FleetModel

/// Why a value on the command line was refused: what it should look like.
struct OptionError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// Reads the demo's small languages: `REGION=2.0@10s+20s`, `REGION@15s`, `A/B=120ms`.
enum DemoOptions {
    static func burst(_ text: String) throws -> Burst {
        let refusal = OptionError("write REGION=FACTOR@START+LENGTH, such as us-east=2.0@10s+20s")
        guard let (region, rest) = text.split(at: "="), let (factor, times) = rest.split(at: "@"),
            let (start, length) = times.split(at: "+"), let value = Double(factor), value.isFinite, value >= 0,
            let begin = Quantity.seconds(start), let duration = Quantity.seconds(length)
        else { throw refusal }
        guard value <= 100 else { throw OptionError("a burst of more than 100 times is not sent") }
        return Burst(region: try self.region(region), factor: value, start: begin, length: duration)
    }

    static func failure(_ text: String) throws -> RegionFailure {
        guard let (region, time) = text.split(at: "@"), let seconds = Quantity.seconds(time) else {
            throw OptionError("write REGION@TIME, such as europe-west@15s")
        }
        return RegionFailure(region: try self.region(region), time: seconds)
    }

    static func roundTrip(_ text: String) throws -> (pair: RegionPair, seconds: Seconds) {
        guard let (pair, time) = text.split(at: "="), let (one, other) = pair.split(at: "/"), one != other,
            let seconds = Quantity.seconds(time), seconds <= 5
        else { throw OptionError("write REGION/REGION=TIME of at most 5s, such as us-east/asia-east=200ms") }
        return (RegionPair(try self.region(one), try self.region(other)), seconds)
    }

    static func duration(_ text: String) throws -> Seconds {
        guard let seconds = Quantity.seconds(text) else {
            throw OptionError("write a duration such as 40s, 500ms or 2m")
        }
        return seconds
    }

    private static func region(_ text: Substring) throws -> RegionName {
        let known = Geography.standard.regions.map(\.name)
        guard let name = known.first(where: { $0.text == text }) else {
            throw OptionError("there is no region \"\(text)\"; use \(known.map(\.text).joined(separator: ", "))")
        }
        return name
    }
}

extension StringProtocol where SubSequence == Substring {
    /// The parts before and after the first `mark`.
    fileprivate func split(at mark: Character) -> (Substring, Substring)? {
        guard let place = self.firstIndex(of: mark) else { return nil }
        return (self[..<place], self[self.index(after: place)...])
    }
}
