import Crypto
package import FleetModel
package import Foundation
import SwiftASN1
import X509

/// A certificate and its private key, both as PEM.
package struct IssuedCertificate: Sendable {
    package let certificate: String
    package let key: String
    package let expires: Date
}

/// A certificate authority of one fleet: one P-256 key that signs the certificate of every program.
///
/// Every certificate carries exactly one identity, `isobar://FLEET/ROLE/NAME`, as a URI in its subject alternative
/// names (as SPIFFE's X509-SVID does with its own scheme), and serves both ends of a link.
package struct Authority: Sendable {
    package let fleet: FleetName
    package let expires: Date
    private let certificate: Certificate
    private let key: Certificate.PrivateKey

    /// Certificates begin to be valid this long before they are made, in seconds: clocks differ.
    private static let clockSlack: TimeInterval = 300

    /// Makes a new authority.
    ///
    /// - Parameters:
    ///   - fleet: The fleet that it vouches for.
    ///   - lifetime: How long, in seconds.
    ///   - now: The time of day.
    /// - Returns: The authority, and its certificate and key for files.
    /// - Throws: When the certificate cannot be encoded.
    package static func make(
        fleet: FleetName,
        lifetime: TimeInterval,
        now: Date
    ) throws -> (authority: Authority, issued: IssuedCertificate) {
        let signing = P256.Signing.PrivateKey()
        let key = Certificate.PrivateKey(signing)
        let name = try DistinguishedName {
            OrganizationName(fleet.text)
            CommonName("Isobar certificate authority")
        }
        let expires = now.addingTimeInterval(lifetime)
        let certificate = try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(),
            publicKey: key.publicKey,
            notValidBefore: now.addingTimeInterval(-Self.clockSlack),
            notValidAfter: expires,
            issuer: name,
            subject: name,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            },
            issuerPrivateKey: key
        )
        let authority = Authority(fleet: fleet, expires: expires, certificate: certificate, key: key)
        let issued = IssuedCertificate(
            certificate: try certificate.serializeAsPEM().pemString + "\n",
            key: signing.pemRepresentation + "\n",
            expires: expires
        )
        return (authority, issued)
    }

    /// Reads an authority that ``make(fleet:lifetime:now:)`` made.
    ///
    /// - Throws: ``AuthorityFault`` when the two do not belong together or name no fleet.
    package init(certificate: String, key: String) throws(AuthorityFault) {
        do {
            self.certificate = try Certificate(pemEncoded: certificate)
            self.key = try Certificate.PrivateKey(pemEncoded: key)
        } catch {
            throw AuthorityFault("is not a PEM certificate with its PEM key: \(error)")
        }
        guard self.key.publicKey == self.certificate.publicKey else {
            throw AuthorityFault("the key is not the certificate's; restore both from one backup")
        }
        let organisation = self.certificate.subject.lazy.compactMap { relative in
            relative.first { $0.type == .RDNAttributeType.organizationName }.map { "\($0.value)" }
        }.first
        guard let fleet = organisation.flatMap({ try? FleetName($0) }) else {
            throw AuthorityFault("names no fleet as its organisation; make one with `isobar pki init`")
        }
        self.fleet = fleet
        self.expires = self.certificate.notValidAfter
    }

    private init(fleet: FleetName, expires: Date, certificate: Certificate, key: Certificate.PrivateKey) {
        self.fleet = fleet
        self.expires = expires
        self.certificate = certificate
        self.key = key
    }

    /// Makes a key and signs a certificate for it.
    ///
    /// - Parameters:
    ///   - identity: Whose it is.
    ///   - hosts: Host names and IP addresses under which its etcd is reached, and from which it connects; programs of
    ///     the fleet know each other by identity and need none.
    ///   - lifetime: How long it is valid, in seconds; never longer than the authority itself.
    ///   - now: The time of day.
    /// - Returns: The certificate and its key.
    /// - Throws: ``AuthorityFault`` for an identity of another fleet, or when the authority has expired.
    package func issue(
        _ identity: Identity,
        hosts: [String] = [],
        lifetime: TimeInterval,
        now: Date
    ) throws -> IssuedCertificate {
        guard identity.fleet == self.fleet else {
            throw AuthorityFault("\(identity) is not of fleet \(self.fleet), which this authority vouches for")
        }
        guard now < self.expires else {
            throw AuthorityFault("the authority itself has expired; make a new one with `isobar pki init`")
        }
        let signing = P256.Signing.PrivateKey()
        let key = Certificate.PrivateKey(signing)
        let expires = min(now.addingTimeInterval(lifetime), self.expires)
        let certificate = try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(),
            publicKey: key.publicKey,
            notValidBefore: now.addingTimeInterval(-Self.clockSlack),
            notValidAfter: expires,
            issuer: self.certificate.subject,
            subject: try DistinguishedName {
                OrganizationName(self.fleet.text)
                CommonName("\(identity.role) \(identity.name)")
            },
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames(
                    [.uniformResourceIdentifier(identity.description)]
                        + (identity.role == .hub ? [.dnsName(identity.fleet.hubsHost)] : [])
                        + hosts.map(HostName.general)
                )
                SubjectKeyIdentifier(hash: key.publicKey)
                AuthorityKeyIdentifier(
                    keyIdentifier: SubjectKeyIdentifier(hash: self.certificate.publicKey).keyIdentifier
                )
            },
            issuerPrivateKey: self.key
        )
        return IssuedCertificate(
            certificate: try certificate.serializeAsPEM().pemString + "\n",
            key: signing.pemRepresentation + "\n",
            expires: expires
        )
    }
}

/// Why an authority could not be read or would not sign; it says the fix.
package struct AuthorityFault: Error, Hashable, CustomStringConvertible {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }

    package var description: String { self.reason }
}
