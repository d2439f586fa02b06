import Exposition
package import Foundation
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle

/// One condition of readiness, as `/readyz?verbose` lists it.
package struct ReadinessCheck: Sendable {
    package let name: String
    /// `nil` when it holds, or why it does not.
    package let problem: String?

    package init(_ name: String, problem: String?) {
        self.name = name
        self.problem = problem
    }
}

/// What a program shows to operators and probes.
package struct AdminPages: Sendable {
    package var readiness: @Sendable () -> [ReadinessCheck]
    /// The `/metrics` page.
    package var metrics: @Sendable () -> String
    /// JSON documents by path, such as `/v1/status`.
    package var documents: [String: @Sendable () throws -> Data]

    package init(
        readiness: @escaping @Sendable () -> [ReadinessCheck],
        metrics: @escaping @Sendable () -> String,
        documents: [String: @Sendable () throws -> Data] = [:]
    ) {
        self.readiness = readiness
        self.metrics = metrics
        self.documents = documents
    }
}

/// Why a port could not be had.
package struct ListenRefusal: Error, Hashable, CustomStringConvertible {
    /// The configuration's field.
    package let field: String
    package let address: String
    package let reason: String

    package init(field: String, address: String, reason: String) {
        self.field = field
        self.address = address
        self.reason = reason
    }

    package var description: String {
        "\(self.field): cannot listen on \(self.address): \(self.reason); stop what holds it, or choose another port"
    }
}

/// Serves `/livez`, `/readyz`, `/metrics` and a program's documents to operators; never inference.
package struct AdminServer: Service {
    private let host: String
    private let port: Int
    private let pages: AdminPages
    private let onListening: @Sendable (Int) -> Void

    /// - Parameters:
    ///   - host: The address to listen on.
    ///   - port: 0 for any that is free.
    ///   - pages: What to show.
    ///   - onListening: Told the port, once, when the server listens.
    package init(
        host: String,
        port: Int,
        pages: AdminPages,
        onListening: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.host = host
        self.port = port
        self.pages = pages
        self.onListening = onListening
    }

    /// Serves until a graceful shutdown.
    ///
    /// - Throws: ``ListenRefusal`` when the port cannot be had.
    package func run() async throws {
        let onListening = self.onListening
        var logger = Logger(label: "isobar.admin")
        // Hummingbird logs each start at info; the program's own line says it better.
        logger.logLevel = .warning
        let application = Application(
            router: self.router(),
            configuration: .init(address: .hostname(self.host, port: self.port), serverName: nil),
            onServerRunning: { channel in onListening(channel.localAddress?.port ?? 0) },
            logger: logger
        )
        do {
            try await application.run()
        } catch let error as IOError {
            throw ListenRefusal(
                field: "admin",
                address: "\(self.host):\(self.port)",
                reason: String(cString: strerror(error.errnoCode))
            )
        }
    }

    private func router() -> Router<BasicRequestContext> {
        let router = Router()
        let pages = self.pages
        router.get("livez") { _, _ in "ok\n" }
        router.get("readyz") { request, _ in
            let checks = pages.readiness()
            let failing = checks.filter { $0.problem != nil }
            let isVerbose = request.uri.queryParameters["verbose"] != nil || !failing.isEmpty
            let lines = checks.map { check in
                check.problem.map { "[-]\(check.name): \($0)\n" } ?? "[+]\(check.name) ok\n"
            }
            let text = (isVerbose ? lines.joined() : "") + (failing.isEmpty ? "ok\n" : "not ready\n")
            return Self.response(
                Data(text.utf8),
                contentType: "text/plain; charset=utf-8",
                status: failing.isEmpty ? .ok : .serviceUnavailable
            )
        }
        router.get("metrics") { _, _ in
            Self.response(Data(pages.metrics().utf8), contentType: ExpositionWriter.contentType)
        }
        for (path, document) in pages.documents {
            router.get(RouterPath(path)) { _, _ in
                Self.response(try document(), contentType: "application/json")
            }
        }
        return router
    }

    private static func response(
        _ body: Data,
        contentType: String,
        status: HTTPResponse.Status = .ok
    ) -> Response {
        Response(
            status: status,
            headers: [.contentType: contentType],
            body: .init(byteBuffer: ByteBuffer(bytes: body))
        )
    }
}

extension AdminPages {
    /// A document as operators read it: sorted keys, so that two of them compare line by line.
    package static func json(_ document: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return try encoder.encode(document)
    }
}
