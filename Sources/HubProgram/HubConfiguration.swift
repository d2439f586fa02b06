import ConfigurationFiles
import FleetModel
import ProgramShell

/// What `hub.yaml` says.
struct HubConfiguration: Sendable {
    /// Where agents and gateways connect (gRPC).
    var listen: EndpointAddress
    /// Where operators look: `/livez`, `/readyz`, `/metrics`, `/v1/status`.
    var admin: EndpointAddress?
    /// Mutual TLS on every gRPC link; plain text, on loopback only, when missing.
    var tls: LinkConfiguration?
    /// The SQLite file that holds the state.
    var state: String
    /// How often a plan is made, in seconds; a failure is answered at once.
    var tick: Seconds
    /// What becomes of pools that agents tell of and no resource declares.
    var undeclaredPools: UndeclaredPools

    init(file: String) throws(ConfigurationError) {
        var fields = try YAMLFields(file: file)
        self.listen = try fields.required("listen") { try EndpointAddress(listening: $0) }
        self.admin = try fields.optional("admin") { try EndpointAddress(listening: $0) }
        self.tls = try fields.mapping("tls") { (tls) throws(ConfigurationError) in try LinkConfiguration(&tls) }
        self.state = try fields.required("state") { $0 }
        self.tick = try fields.seconds("tick", in: 0.1...60, default: 1)
        self.undeclaredPools = try fields.choice("undeclaredPools", default: .plan)
        try fields.finish()
    }
}

/// What becomes of pools that agents tell of and no resource declares.
enum UndeclaredPools: String, CaseIterable, Sendable {
    case plan, ignore
}
