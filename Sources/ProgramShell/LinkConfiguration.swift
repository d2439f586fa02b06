package import ConfigurationFiles
package import FleetModel
package import Logging
package import WireTransport

/// What `tls:` in a program's file says; without it links are plain text, and on loopback only.
package struct LinkConfiguration: Hashable, Sendable {
    package let files: LinkFiles

    /// Reads the three paths.
    package init(_ fields: inout YAMLFields) throws(ConfigurationError) {
        self.files = LinkFiles(
            certificate: try fields.required("certificate") { $0 },
            key: try fields.required("key") { $0 },
            authority: try fields.required("authority") { $0 }
        )
    }

    /// Reads the files, and checks that they are this program's.
    ///
    /// - Parameters:
    ///   - role: What the program is.
    ///   - name: Its cluster or region; any name when `nil`.
    ///   - logger: Told of links refused and files reloaded.
    /// - Returns: What the program's links show.
    /// - Throws: ``LinkFilesFault`` with the command that issues the right certificate.
    package func credentials(
        of role: Role,
        named name: String?,
        logger: Logger
    ) throws(LinkFilesFault) -> LinkCredentials {
        let credentials = try LinkCredentials(files: self.files, logger: logger)
        let identity = credentials.identity
        guard identity.role == role, name == nil || identity.name == name else {
            throw LinkFilesFault(
                file: self.files.certificate,
                reason: "is of \(identity), and this is \(role) \(name ?? "")"
                    + "; issue one with `isobar pki issue \(role) \(name ?? "NAME")`"
            )
        }
        logger.info(
            "links use mutual TLS",
            metadata: [
                "identity": "\(identity)", "expires_in_hours": "\(Int(credentials.expiresIn / 3_600))",
            ]
        )
        return credentials
    }
}
