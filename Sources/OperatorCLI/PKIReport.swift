import CertificateAuthority
import FleetModel
import Foundation

/// What an `isobar pki` command tells.
struct PKIReport: Codable {
    struct Row: Codable {
        var identity: String
        var certificate: String
        var key: String
        var expires_in_seconds: Int
        var due: Bool
    }

    var fleet: String
    var authority: String
    var authority_expires_in_seconds: Int
    var certificates: [Row]
    /// What to do next: a command, or a line for a file.
    var next: [String]

    init(_ authority: Authority, in folder: AuthorityFolder, _ held: [HeldCertificate], now: Date, next: [String]) {
        self.fleet = authority.fleet.text
        self.authority = folder.authorityFile
        self.authority_expires_in_seconds = Int(authority.expires.timeIntervalSince(now))
        self.certificates = held.map { held in
            Row(
                identity: held.identity.description,
                certificate: held.certificateFile,
                key: held.keyFile,
                expires_in_seconds: Int(held.expires.timeIntervalSince(now)),
                due: held.isDue(now: now)
            )
        }
        self.next = next
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }

    var table: String {
        let rows =
            [["IDENTITY", "EXPIRES IN", "CERTIFICATE", "KEY"]]
            + [
                [
                    "\(Identity.scheme)\(self.fleet) (authority)", Self.age(Double(self.authority_expires_in_seconds)),
                    self.authority, "",
                ]
            ]
            + self.certificates.map { row in
                [
                    row.identity, Self.age(Double(row.expires_in_seconds)) + (row.due ? " (due)" : ""),
                    row.certificate, row.key,
                ]
            }
        let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: "  ")
                .trimmingCharacters(in: .whitespaces)
        }
        return (lines + self.next.map { "next: \($0)" }).joined(separator: "\n") + "\n"
    }

    /// A time as an operator says it: `90d`, `11h`, or `expired`.
    static func age(_ seconds: TimeInterval) -> String {
        switch seconds {
        case ..<0: "expired"
        case ..<120: "\(Int(seconds))s"
        case ..<7_200: "\(Int((seconds / 60).rounded()))m"
        case ..<172_800: "\(Int((seconds / 3_600).rounded()))h"
        default: "\(Int((seconds / 86_400).rounded()))d"
        }
    }
}
