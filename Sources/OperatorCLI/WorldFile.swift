import ConfigurationFiles
import EngineModel
import FleetModel
import FleetSimulator

/// A world as a file has it; `isobar simulate fleet --help` documents every field.
struct WorldFile {
    let world: FleetWorld
    /// The most tokens that a request may have: prompt and answer.
    let longestRequest: Int

    /// Reads YAML, of which JSON is a part.
    ///
    /// - Throws: `ConfigurationError` that names the line, the field and the fix.
    init(file: String) throws(ConfigurationError) {
        try self.init(YAMLFields(file: file))
    }

    init(text: String, file: String) throws(ConfigurationError) {
        try self.init(YAMLFields(text: text, file: file))
    }

    private init(_ start: YAMLFields) throws(ConfigurationError) {
        var fields = start
        var positions: [WorldPosition?] = []
        let hour = try fields.optional("hour") { try Self.number($0, in: 0...24) } ?? 14
        let swing = try fields.optional("swing") { try Self.number($0, in: 0...1) } ?? 0
        let unit = try fields.integer("prefixUnitTokens", in: 16...65_536, default: 512) ?? 512
        self.longestRequest = try fields.integer("longestRequest", in: 2...10_000_000, default: 131_072) ?? 131_072
        let regions = try fields.mappings("regions") { (region) throws(ConfigurationError) in
            let latitude = try region.optional("latitude") { try Self.number($0, in: -90...90) }
            let longitude = try region.optional("longitude") { try Self.number($0, in: -180...180) }
            positions.append(latitude.flatMap { a in longitude.map { WorldPosition(latitude: a, longitude: $0) } })
            return WorldRegion(
                name: try region.required("name") { try RegionName($0) },
                demand: try region.optional("demand") { try Self.number($0, in: 0...1e9) } ?? 1,
                zone: try region.optional("zone") { try Self.number($0, in: -12...14) } ?? (longitude ?? 0) / 15,
                gateways: try region.integer("gateways", in: 1...64, default: 2) ?? 2
            )
        }
        guard !regions.isEmpty else { throw fields.error("regions", "add at least one region") }
        let clusters = try fields.mappings("clusters") { (cluster) throws(ConfigurationError) in
            try Self.cluster(&cluster, regions: regions.map(\.name), unit: unit)
        }
        guard !clusters.isEmpty else { throw fields.error("clusters", "add at least one cluster") }
        guard Set(clusters.map(\.name)).count == clusters.count else {
            throw fields.error("clusters", "two have the same name; rename one")
        }
        var bands = try fields.mappings("bands") { (band) throws(ConfigurationError) in
            WorldBand(
                band: try band.required("name") { text throws(NotOneOf) in
                    guard let band = Band(rawValue: text) else { throw NotOneOf(words: Band.allCases.map(\.rawValue)) }
                    return band
                },
                share: try band.required("share") { try Self.number($0, in: 0...1e9) },
                objective: try band.seconds("objective", in: 0.001...3_600, default: 1)
            )
        }
        if bands.isEmpty { bands = [WorldBand(band: .standard, share: 1, objective: 1)] }
        var trips = Self.trips(positions)
        for (pair, seconds) in try fields.mappings("links", Self.link) {
            guard let a = regions.firstIndex(where: { $0.name.text == pair[0] }),
                let b = regions.firstIndex(where: { $0.name.text == pair[1] }), a != b
            else {
                throw fields.error("links", "\(pair.joined(separator: " ")): use two of the regions above")
            }
            trips[a][b] = seconds
            trips[b][a] = seconds
        }
        for a in regions.indices {
            for b in regions.indices where trips[a][b].isNaN {
                throw fields.error(
                    "links",
                    "add `between: \(regions[a].name) \(regions[b].name)`, or latitude and longitude to both"
                )
            }
        }
        let hub = try fields.optional("hub") { try RegionName($0) }
        guard let place = hub.map({ name in regions.firstIndex { $0.name == name } }) ?? 0 else {
            throw fields.error("hub", "use one of the regions")
        }
        try fields.finish()
        self.world = FleetWorld(
            regions: regions,
            clusters: clusters,
            bands: bands,
            roundTrips: trips,
            hour: hour,
            swing: swing,
            hub: place
        )
    }

    private static func cluster(
        _ fields: inout YAMLFields,
        regions: [RegionName],
        unit: Int
    ) throws(ConfigurationError) -> WorldCluster {
        var profile = try fields.required("profile") { try EngineProfile(named: $0) }
        profile.prefixUnitTokens = unit
        profile.maxSequences = try fields.integer("maxNumSeqs", in: 1...4_096, default: nil) ?? profile.maxSequences
        if let speed = try fields.optional("speed", { try Self.number($0, in: 0.01...100) }) {
            profile = profile.faster(by: speed)
        }
        let region = try fields.required("region") { try RegionName($0) }
        guard regions.contains(region) else {
            throw fields.error("region", "use one of the regions above")
        }
        return WorldCluster(
            name: try fields.required("name") { try ClusterName($0) },
            region: region,
            profile: profile,
            engines: try fields.integer("engines", in: 1...10_000, default: 1) ?? 1
        )
    }

    private static func link(_ fields: inout YAMLFields) throws(ConfigurationError) -> (pair: [String], Seconds) {
        let pair = try fields.required("between") { text throws(NotOneOf) in
            let names = text.split(separator: " ").map(String.init)
            guard names.count == 2 else { throw NotOneOf(words: ["two regions, as in `us-east eu-west`"]) }
            return names
        }
        let seconds = try fields.required("roundTrip") { try Self.number($0, in: 0...10) }
        return (pair, seconds)
    }

    private static func trips(_ positions: [WorldPosition?]) -> [[Seconds]] {
        positions.indices.map { a in
            positions.indices.map { b in
                if a == b { return 0 }
                guard let from = positions[a], let to = positions[b] else { return .nan }
                return from.roundTrip(to: to)
            }
        }
    }

    private struct NotOneOf: Error, CustomStringConvertible {
        let words: [String]
        var description: String { "use \(self.words.joined(separator: ", "))" }
    }

    private static func number(_ text: String, in range: ClosedRange<Double>) throws -> Double {
        guard let number = Double(text), range.contains(number) else {
            throw NotOneOf(words: ["a number from \(range.lowerBound) to \(range.upperBound)"])
        }
        return number
    }
}
