import FleetModel
import Foundation
import SwiftASN1
import TestKit
import Testing
import X509

@testable import CertificateAuthority

@Suite("A fleet's certificate authority")
struct CertificateAuthorityTests {
    private static let day: TimeInterval = 86_400

    private func mode(_ file: String) throws -> Int? {
        (try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? NSNumber)?.intValue
    }

    @Test("issues a certificate with one identity, whose key only its owner can read")
    func issues() throws {
        let folder = AuthorityFolder(path: try TemporaryFolder().file("pki"))
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        _ = try folder.create(fleet: try FleetName("acme"), lifetime: 3650 * Self.day, now: now)
        let held = try folder.issue(role: .agent, name: "us-east-a", lifetime: 90 * Self.day, now: now)
        #expect(held.identity.description == "isobar://acme/agent/us-east-a")
        #expect(try self.mode(held.keyFile) == 0o600)
        #expect(try self.mode(folder.authorityKeyFile) == 0o600)
        let certificate = try Certificate(pemEncoded: try String(contentsOfFile: held.certificateFile, encoding: .utf8))
        #expect(certificate.notValidAfter == now.addingTimeInterval(90 * Self.day))
        #expect(try folder.certificates().map(\.identity) == [held.identity])
    }

    @Test("a hub's certificate carries the fleet's name for hubs and its hosts, and keeps them when it is rotated")
    func hosts() throws {
        let folder = AuthorityFolder(path: try TemporaryFolder().file("pki"))
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        _ = try folder.create(fleet: try FleetName("acme"), lifetime: 3650 * Self.day, now: now)
        let hosts = ["10.0.0.1", "fd00::1", "hub-0.example"]
        let held = try folder.issue(role: .hub, name: "hub-0", hosts: hosts, lifetime: 90 * Self.day, now: now)
        func names() throws -> [String] {
            try Certificate(pemEncoded: try String(contentsOfFile: held.certificateFile, encoding: .utf8)).hosts
        }
        #expect(try names() == ["hub.acme.isobar"] + hosts)
        _ = try folder.rotate(try #require(try folder.certificates().first), lifetime: 90 * Self.day, now: now)
        #expect(try names() == ["hub.acme.isobar"] + hosts)
        _ = try folder.issue(role: .agent, name: "a", lifetime: Self.day, now: now)
        #expect(try folder.certificates().first { $0.identity.role == .agent }?.hosts == [])
        let bad = #expect(throws: AuthorityFault.self) {
            _ = try folder.issue(role: .hub, name: "hub-1", hosts: ["10.0.0.1:2379"], lifetime: Self.day, now: now)
        }
        #expect(bad?.reason.contains("without a port") == true)
    }

    @Test("never overwrites: neither an authority nor a certificate")
    func refusesToOverwrite() throws {
        let folder = AuthorityFolder(path: try TemporaryFolder().file("pki"))
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        _ = try folder.create(fleet: try FleetName("acme"), lifetime: Self.day, now: now)
        let again = #expect(throws: AuthorityFault.self) {
            _ = try folder.create(fleet: try FleetName("acme"), lifetime: Self.day, now: now)
        }
        #expect(again?.reason.contains("is there already") == true)
        _ = try folder.issue(role: .hub, name: "hub-0", lifetime: Self.day, now: now)
        let twice = #expect(throws: AuthorityFault.self) {
            _ = try folder.issue(role: .hub, name: "hub-0", lifetime: Self.day, now: now)
        }
        #expect(twice?.reason.contains("isobar pki rotate") == true)
    }

    @Test("rotates to a new key under the same name, when two thirds of its life are over")
    func rotates() throws {
        let folder = AuthorityFolder(path: try TemporaryFolder().file("pki"))
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        _ = try folder.create(fleet: try FleetName("acme"), lifetime: 3650 * Self.day, now: now)
        let held = try folder.issue(role: .gateway, name: "us-east", lifetime: 90 * Self.day, now: now)
        #expect(!held.isDue(now: now.addingTimeInterval(59 * Self.day)))
        let later = now.addingTimeInterval(61 * Self.day)
        #expect(held.isDue(now: later))
        let before = try String(contentsOfFile: held.keyFile, encoding: .utf8)
        let fresh = try folder.rotate(held, lifetime: 90 * Self.day, now: later)
        #expect(fresh.expires == later.addingTimeInterval(90 * Self.day))
        #expect(try String(contentsOfFile: held.keyFile, encoding: .utf8) != before)
        #expect(try self.mode(held.keyFile) == 0o600)
        #expect(try folder.certificates().map(\.expires) == [fresh.expires])
    }

    @Test("a certificate never outlives its authority, and an expired authority signs nothing")
    func bounded() throws {
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        let fleet = try FleetName("acme")
        let (authority, _) = try Authority.make(fleet: fleet, lifetime: Self.day, now: now)
        let identity = try Identity(fleet: fleet, role: .hub, name: "hub-0")
        #expect(try authority.issue(identity, lifetime: 90 * Self.day, now: now).expires == authority.expires)
        #expect(throws: AuthorityFault.self) {
            _ = try authority.issue(identity, lifetime: Self.day, now: now.addingTimeInterval(2 * Self.day))
        }
        let other = try Identity(fleet: try FleetName("globex"), role: .hub, name: "hub-0")
        #expect(throws: AuthorityFault.self) { _ = try authority.issue(other, lifetime: Self.day, now: now) }
    }
}
