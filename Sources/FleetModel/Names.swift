/// Seconds, as a plain number: the thinking rooms compute with them, and every `now` is such a
/// number on the caller's own monotonic clock.
package typealias Seconds = Double

/// Why a name was refused; it says what was given and what would be accepted.
package struct InvalidName: Error, Hashable, CustomStringConvertible {
    /// What kind of name it was to be, such as `region`.
    package let kind: String
    package let given: String
    /// What would be accepted.
    package let rule: String

    package init(kind: String, given: String, rule: String) {
        self.kind = kind
        self.given = given
        self.rule = rule
    }

    package var description: String { "\(self.kind) \"\(self.given)\" is not valid: \(self.rule)" }
}

/// What a DNS label is, for messages.
enum LabelRule {
    static let text = "use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
}

/// A name that is one DNS label (RFC 1123): what Kubernetes calls its objects.
package protocol LabelName: Hashable, Sendable, Comparable, CustomStringConvertible {
    static var kind: String { get }
    var text: String { get }
    init(unchecked text: String)
}

extension LabelName {
    /// Checks a name from outside.
    ///
    /// - Throws: ``InvalidName`` unless it is 1 to 63 lower-case letters, digits and inner hyphens.
    package init(_ text: String) throws(InvalidName) {
        guard text.isDNSLabel else {
            throw InvalidName(kind: Self.kind, given: text, rule: LabelRule.text)
        }
        self.init(unchecked: text)
    }

    package var description: String { self.text }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.text < rhs.text }
}

/// A place that clients are near to, such as `us-east`; one or more clusters stand in it.
package struct RegionName: LabelName {
    package static let kind = "region"
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// One cluster of model servers.
package struct ClusterName: LabelName {
    package static let kind = "cluster"
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// One gateway replica.
package struct GatewayName: LabelName {
    package static let kind = "gateway"
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// One agent replica.
package struct AgentName: LabelName {
    package static let kind = "agent"
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// An InferencePool, `namespace/name`: the same in every cluster that exports it.
package struct PoolName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let namespace: String
    package let name: String

    /// Reads `namespace/name`; a bare `name` is in the namespace `default`.
    ///
    /// - Throws: ``InvalidName`` unless both parts are DNS labels.
    package init(_ text: String) throws(InvalidName) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let (namespace, name) = parts.count == 1 ? ("default", parts[0]) : (parts[0], parts.last ?? "")
        guard parts.count <= 2, namespace.isDNSLabel, name.isDNSLabel else {
            throw InvalidName(kind: "pool", given: text, rule: "use namespace/name, both of them DNS labels")
        }
        self.namespace = namespace
        self.name = name
    }

    /// A name that is only a label, such as one in a problem file, and need not exist in any cluster.
    package init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    package var description: String { "\(self.namespace)/\(self.name)" }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.namespace, lhs.name) < (rhs.namespace, rhs.name)
    }
}

/// Where something listens: `host:port`.
package struct EndpointAddress: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let host: String
    package let port: Int

    /// Reads `host:port`, also with an `http://` before it and an IPv6 host in brackets.
    ///
    /// - Throws: ``InvalidName`` without a host or with a port outside 1 to 65535.
    package init(_ text: String) throws(InvalidName) {
        try self.init(text, lowestPort: 1)
    }

    /// Reads an address to listen on, where port 0 lets the system choose.
    ///
    /// - Throws: ``InvalidName`` without a host or with a port outside 0 to 65535.
    package init(listening text: String) throws(InvalidName) {
        try self.init(text, lowestPort: 0)
    }

    private init(_ text: String, lowestPort: Int) throws(InvalidName) {
        var rest = Substring(text)
        if rest.hasPrefix("http://") { rest = rest.dropFirst("http://".count) }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        guard let colon = rest.lastIndex(of: ":"), let port = Int(rest[rest.index(after: colon)...]),
            (lowestPort...65_535).contains(port)
        else {
            let rule = "use host:port with a port from \(lowestPort) to 65535"
            throw InvalidName(kind: "address", given: text, rule: rule)
        }
        var host = rest[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw InvalidName(kind: "address", given: text, rule: "put an IPv6 host in brackets, as in [::1]:8000")
        }
        guard !host.isEmpty, !host.contains(where: { $0 == "/" || $0.isWhitespace }) else {
            throw InvalidName(kind: "address", given: text, rule: "use host:port with a host before the colon")
        }
        self.host = String(host)
        self.port = port
    }

    /// An address that the program itself made, such as one it has just bound.
    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    package var description: String {
        self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }

    /// Whether the host is this machine's loopback: the only place where plain text is allowed.
    package var isLoopback: Bool {
        self.host == "localhost" || self.host == "::1" || self.host.hasPrefix("127.")
    }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.host, lhs.port) < (rhs.host, rhs.port)
    }
}

extension String {
    var isDNSLabel: Bool {
        func isLetterOrDigit(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        guard (1...63).contains(self.utf8.count), let first = self.utf8.first, let last = self.utf8.last else {
            return false
        }
        return isLetterOrDigit(first) && isLetterOrDigit(last)
            && self.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
    }
}
