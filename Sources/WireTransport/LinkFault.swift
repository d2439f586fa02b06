package import Exposition
package import FleetModel
import Synchronization

/// Why a link or a call on it was refused; the words are a metric label, so the set is closed.
package enum LinkFault: String, Error, Hashable, Sendable, CaseIterable {
    /// The peer showed no certificate.
    case noCertificate = "no_certificate"
    case expired
    case notYetValid = "not_yet_valid"
    /// Signed by an authority that is not in the `authority` file.
    case otherAuthority = "other_authority"
    /// Signed by the authority, and against its rules: of an unknown version, say.
    case invalid
    /// The certificate has no `isobar://…` URI, or more than one.
    case noIdentity = "no_identity"
    case otherFleet = "other_fleet"
    /// A role that may not take this end of this link, or make this call.
    case wrongRole = "wrong_role"
    /// A cluster or region that is not the certificate's.
    case wrongName = "wrong_name"
    /// No TLS 1.3 with us: plain text, an older version, garbage, or the peer refused us.
    case handshake
    /// More handshakes at once than are checked.
    case busy
}

/// What happened to the links of one program.
package final class LinkCounts: Sendable {
    private struct State {
        var refusals: [LinkFault: UInt64] = [:]
        var handshakes: UInt64 = 0
        var reloads: UInt64 = 0
        var reloadFailures: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    package subscript(_ fault: LinkFault) -> UInt64 { self.state.withLock { $0.refusals[fault] ?? 0 } }
    package var handshakes: UInt64 { self.state.withLock { $0.handshakes } }
    package var reloads: UInt64 { self.state.withLock { $0.reloads } }
    package var reloadFailures: UInt64 { self.state.withLock { $0.reloadFailures } }

    func refused(_ fault: LinkFault) { self.state.withLock { $0.refusals[fault, default: 0] += 1 } }
    func shookHands() { self.state.withLock { $0.handshakes += 1 } }
    func reloaded() { self.state.withLock { $0.reloads += 1 } }
    func reloadFailed() { self.state.withLock { $0.reloadFailures += 1 } }

    /// Writes the counters; `expiresIn` is what is left of the program's own certificate, in seconds.
    package func write(to page: inout ExpositionWriter, expiresIn: Seconds) {
        let state = self.state.withLock { $0 }
        page.family("isobar_link_refusals_total", .counter, help: "Links and calls refused, by reason.")
        for fault in LinkFault.allCases {
            page.sample("isobar_link_refusals_total", ["reason": fault.rawValue], Double(state.refusals[fault] ?? 0))
        }
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.single("isobar_link_\(name)_total", .counter, help: help, Double(value))
        }
        counter("handshakes", "Peers whose certificate was accepted.", state.handshakes)
        counter("certificate_reloads", "Times that changed certificate files were taken.", state.reloads)
        counter("certificate_reload_failures", "Changed files that could not be used.", state.reloadFailures)
        page.single("isobar_link_certificate_expiry_seconds", .gauge, help: "Until the own one expires.", expiresIn)
    }
}
