package import FleetModel
package import Foundation
import SwiftASN1
import SystemPackage
import X509

/// A certificate in the folder.
package struct HeldCertificate: Sendable {
    package let identity: Identity
    package let certificateFile: String
    package let keyFile: String
    package let begins: Date
    package let expires: Date
    /// The hosts that it was issued for; see ``Authority/issue(_:hosts:lifetime:now:)``.
    package let hosts: [String]

    /// Whether less than a third of its life is left: time to rotate it.
    package func isDue(now: Date) -> Bool {
        self.expires.timeIntervalSince(now) < self.expires.timeIntervalSince(self.begins) / 3
    }
}

/// A folder with a fleet's authority and the certificates that it has issued.
///
/// `ca.crt` and `ca.key`, then `ROLE-NAME.crt` and `ROLE-NAME.key`. Keys are readable by their owner only. Nothing is
/// ever overwritten but by ``rotate(_:lifetime:now:)``, which replaces each file in one step.
package struct AuthorityFolder: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    package var authorityFile: String { self.file("ca.crt") }
    package var authorityKeyFile: String { self.file("ca.key") }

    /// Makes the folder and a new authority in it.
    ///
    /// - Throws: ``AuthorityFault`` when there is one already.
    package func create(fleet: FleetName, lifetime: TimeInterval, now: Date) throws -> Authority {
        do {
            try FileManager.default.createDirectory(
                atPath: self.path,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        } catch {
            throw AuthorityFault("\(self.path): cannot be made: \(error.localizedDescription)")
        }
        for file in [self.authorityFile, self.authorityKeyFile] where FileManager.default.fileExists(atPath: file) {
            throw AuthorityFault("\(file): is there already; choose another folder with --pki, or move it away")
        }
        let (authority, issued) = try Authority.make(fleet: fleet, lifetime: lifetime, now: now)
        try Self.write(issued.key, to: self.authorityKeyFile, isSecret: true)
        try Self.write(issued.certificate, to: self.authorityFile, isSecret: false)
        return authority
    }

    /// The authority in the folder.
    ///
    /// - Throws: ``AuthorityFault`` when there is none or it cannot be read.
    package func authority() throws(AuthorityFault) -> Authority {
        let certificate = try self.read(self.authorityFile)
        let key = try self.read(self.authorityKeyFile)
        do throws(AuthorityFault) {
            return try Authority(certificate: certificate, key: key)
        } catch {
            throw AuthorityFault("\(self.authorityFile): \(error)")
        }
    }

    /// Issues a certificate into the folder.
    ///
    /// - Throws: ``AuthorityFault`` when there is one of that identity already.
    package func issue(
        role: Role,
        name: String,
        hosts: [String] = [],
        lifetime: TimeInterval,
        now: Date
    ) throws -> HeldCertificate {
        for host in hosts where !HostName.isValid(host) {
            throw AuthorityFault("\"\(host)\" is no host: use a host name or an IP address, without a port")
        }
        let authority = try self.authority()
        let identity = try Identity(fleet: authority.fleet, role: role, name: name)
        let (certificateFile, keyFile) = self.files(of: identity)
        for file in [certificateFile, keyFile] where FileManager.default.fileExists(atPath: file) {
            throw AuthorityFault("\(file): is there already; replace it with `isobar pki rotate --pki \(self.path)`")
        }
        let issued = try authority.issue(identity, hosts: hosts, lifetime: lifetime, now: now)
        try Self.write(issued.key, to: keyFile, isSecret: true)
        try Self.write(issued.certificate, to: certificateFile, isSecret: false)
        return HeldCertificate(
            identity: identity,
            certificateFile: certificateFile,
            keyFile: keyFile,
            begins: now,
            expires: issued.expires,
            hosts: hosts
        )
    }

    /// Every certificate in the folder but the authority's, by identity.
    ///
    /// - Throws: ``AuthorityFault`` for one that cannot be read.
    package func certificates() throws(AuthorityFault) -> [HeldCertificate] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: self.path)
        } catch {
            throw AuthorityFault("\(self.path): no such folder; make one with `isobar pki init`")
        }
        var held: [HeldCertificate] = []
        for name in names.sorted() where name.hasSuffix(".crt") && name != "ca.crt" {
            let file = self.file(name)
            guard let certificate = try? Certificate(pemEncoded: try self.read(file)),
                let uri = certificate.identityURIs.first, let identity = try? Identity(uri: uri)
            else { throw AuthorityFault("\(file): is no certificate of a fleet; move it away") }
            held.append(
                HeldCertificate(
                    identity: identity,
                    certificateFile: file,
                    keyFile: String(file.dropLast(4)) + ".key",
                    begins: certificate.notValidBefore,
                    expires: certificate.notValidAfter,
                    hosts: certificate.hosts.filter { $0 != identity.fleet.hubsHost }
                )
            )
        }
        return held
    }

    /// Replaces a certificate and its key by new ones; each file in one step, so that a reader never sees half of one.
    ///
    /// A reader that comes between the two steps sees a key that is not the certificate's: it keeps what it has and
    /// looks again.
    package func rotate(_ held: HeldCertificate, lifetime: TimeInterval, now: Date) throws -> HeldCertificate {
        let issued = try self.authority().issue(held.identity, hosts: held.hosts, lifetime: lifetime, now: now)
        for (text, file, isSecret) in [
            (issued.key, held.keyFile, true), (issued.certificate, held.certificateFile, false),
        ] {
            let fresh = "\(file).new"
            try? FileManager.default.removeItem(atPath: fresh)
            try Self.write(text, to: fresh, isSecret: isSecret)
            guard rename(fresh, file) == 0 else { throw AuthorityFault("\(file): \(Errno(rawValue: errno))") }
        }
        return HeldCertificate(
            identity: held.identity,
            certificateFile: held.certificateFile,
            keyFile: held.keyFile,
            begins: now,
            expires: issued.expires,
            hosts: held.hosts
        )
    }

    private func files(of identity: Identity) -> (certificate: String, key: String) {
        let base = self.file("\(identity.role)-\(identity.name)")
        return ("\(base).crt", "\(base).key")
    }

    private func file(_ name: String) -> String { "\(self.path)/\(name)" }

    private func read(_ file: String) throws(AuthorityFault) -> String {
        do {
            return try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            let reason = FileManager.default.fileExists(atPath: file) ? "cannot be read" : "no such file"
            throw AuthorityFault("\(file): \(reason); make an authority with `isobar pki init`, or name its folder")
        }
    }

    /// Writes a file that is not there yet; a secret one is its owner's alone from its first byte on.
    private static func write(_ text: String, to file: String, isSecret: Bool) throws(AuthorityFault) {
        do {
            let descriptor = try FileDescriptor.open(
                FilePath(file),
                .writeOnly,
                options: [.create, .exclusiveCreate],
                permissions: isSecret ? .ownerReadWrite : [.ownerReadWrite, .groupRead, .otherRead]
            )
            try descriptor.closeAfter { _ = try descriptor.writeAll(text.utf8) }
        } catch {
            throw AuthorityFault("\(file): \(error)")
        }
    }
}

extension Certificate {
    fileprivate var identityURIs: [String] {
        guard let names = try? self.extensions.subjectAlternativeNames else { return [] }
        return names.compactMap { name in
            if case .uniformResourceIdentifier(let uri) = name { return uri }
            return nil
        }
    }
}
