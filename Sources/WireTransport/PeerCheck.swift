import FleetModel
import Foundation
import X509

/// Whether the certificates that a peer showed make it who it says it is.
enum PeerCheck {
    /// - Parameters:
    ///   - chain: What the peer showed, its own certificate first.
    ///   - authorities: Who is trusted.
    ///   - fleet: The own fleet.
    ///   - role: What the peer must be; any role when `nil`, for a server that decides call by call.
    /// - Returns: Who the peer is.
    /// - Throws: ``LinkFault``.
    static func identify(
        _ chain: [Certificate],
        authorities: CertificateStore,
        fleet: FleetName,
        role: Role?
    ) async throws(LinkFault) -> Identity {
        guard let leaf = chain.first else { throw .noCertificate }
        var verifier = Verifier(rootCertificates: authorities) { RFC5280Policy() }
        let result = await verifier.validate(
            leaf: leaf,
            intermediates: CertificateStore(chain.dropFirst())
        )
        switch result {
        case .couldNotValidate(let failures):
            // Without a failure there was no chain at all to judge.
            guard !failures.isEmpty else { throw .otherAuthority }
            let (path, now) = (failures.flatMap { $0.chain }, Date())
            if path.contains(where: { $0.notValidAfter < now }) { throw .expired }
            if path.contains(where: { $0.notValidBefore > now }) { throw .notYetValid }
            throw .invalid
        case .validCertificate:
            let identity = try leaf.identity()
            guard identity.fleet == fleet else { throw .otherFleet }
            guard role == nil || identity.role == role else { throw .wrongRole }
            return identity
        }
    }
}
