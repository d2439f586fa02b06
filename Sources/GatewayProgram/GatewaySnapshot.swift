import FleetModel
import Foundation
import Observability
import PlanStream
import RequestRouting

/// What `GET /v1/snapshot` of a gateway says, and `isobar pick` chooses from.
struct GatewaySnapshot: Codable, Sendable {
    struct Objective: Codable, Sendable {
        var name: String
        var pool: String?
        var priority: Int
    }

    struct Pool: Codable, Sendable {
        var pool: String
        var objective: String?
        var model: String?
    }

    var gateway: String
    var taken_at: Date
    /// The plan as it came from the hub, in base 64; absent without one.
    var plan: String?
    var router: RouterSnapshot
    var objectives: [Objective]
    var pools: [Pool]

    /// Reads a snapshot.
    ///
    /// - Throws: ``PickError`` that says what is wrong with it.
    init(json: Data, from source: String) throws(PickError) {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        do {
            self = try decoder.decode(Self.self, from: json)
        } catch {
            throw PickError(
                message: "\(source): not a snapshot; save one with: curl http://ADMIN/v1/snapshot > FILE",
                code: 65
            )
        }
    }

    init(_ configuration: GatewayConfiguration, _ router: Router, plan: Plan?, now: Seconds) throws {
        self.gateway = configuration.gateway.text
        self.taken_at = Date()
        self.plan = try plan.map { Data(try EncodedPlan($0).bytes()).base64EncodedString() }
        self.router = router.snapshot(now: now)
        self.objectives = configuration.objectives.map {
            Objective(name: $0.name, pool: $0.pool?.description, priority: $0.priority)
        }
        self.pools = configuration.pools.map {
            Pool(pool: $0.name.description, objective: $0.objective, model: $0.model)
        }
    }

    /// The router as it was.
    func rebuilt() throws -> Router {
        let bytes = self.plan.flatMap { Data(base64Encoded: $0) }
        return try Router(self.router, plan: try bytes.map { try Plan(bytes: [UInt8]($0)) })
    }

    /// The band of an objective in a pool, as the gateway takes it.
    func band(_ objective: String?, _ pool: PoolName) -> Band {
        let known = self.pools.first { $0.pool == pool.description }
        guard let name = objective ?? known?.objective else { return .standard }
        let found = self.objectives.first { $0.name == name && ($0.pool.map { $0 == pool.description } ?? true) }
        return found.map { Band(priority: $0.priority) } ?? Band(rawValue: name) ?? .standard
    }
}

extension Gateway {
    /// The snapshot as JSON.
    func snapshot() throws -> Data {
        let now = self.clock.now
        let (router, plan) = self.withState { ($0.router, $0.router.planHeld) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return try encoder.encode(GatewaySnapshot(self.configuration, router, plan: plan, now: now))
    }
}

/// Why there is no pick, and with which exit code it ends.
struct PickError: Error, CustomStringConvertible {
    let message: String
    let code: Int32

    var description: String { self.message }
}
