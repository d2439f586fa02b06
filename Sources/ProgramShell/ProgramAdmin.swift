package import FleetModel
package import Logging
package import Observability

extension AdminServer {
    /// The admin server that a program's file asks for with `admin`; `nil` when it does not.
    ///
    /// - Parameters:
    ///   - address: Where to listen.
    ///   - pages: What to show.
    ///   - logger: Told the port, once.
    package init?(at address: EndpointAddress?, showing pages: AdminPages, logger: Logger) {
        guard let address else { return nil }
        self.init(
            host: address.host,
            port: address.port,
            pages: pages,
            onListening: { logger.info("admin listens", metadata: ["port": "\($0)"]) }
        )
    }
}
