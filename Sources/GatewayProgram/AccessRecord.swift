import FleetModel
import Glibc
import RequestRouting
import ReverseProxy

/// One line of the access log: who was sent where and how it went, and nothing of what was said.
///
/// It is made on a request's way and written off it, so it holds what is there and leaves the texts for later.
struct AccessRecord: Sendable {
    private let time: time_t
    private let method: String
    private let uri: String
    private let open: OpenRequest
    private let summary: ProxySummary

    init(_ request: ProxiedRequest, _ open: OpenRequest, _ summary: ProxySummary) {
        self.time = Glibc.time(nil)
        self.method = request.method
        self.uri = request.uri
        self.open = open
        self.summary = summary
    }

    /// Adds the line, its members in the order of their names.
    func write(to line: inout JSONLine) {
        let pick = self.open.lastPick
        line.begin()
        line.add("band", self.open.request.band.rawValue)
        line.add("cluster", pick?.cluster.text)
        line.add("dropped", self.open.drop?.rawValue)
        line.add("duration_seconds", self.summary.duration)
        line.add("endpoint", pick?.target.description)
        line.add("first_byte_seconds", self.open.timeToFirstByte)
        line.add("hop", self.open.request.isHop)
        line.add("method", self.method)
        line.add("model", self.open.model)
        // Without the query, which may say anything.
        line.add("path", String(self.uri.prefix { $0 != "?" }.prefix(256)))
        line.add("plan", self.open.plan?.description)
        line.add("pool", self.open.pool.name.description)
        line.add("reason", pick?.reason.rawValue)
        line.add("request_bytes", self.summary.requestBytes)
        line.add("response_bytes", self.summary.bytes)
        line.add("rewritten_model", self.open.rewritten)
        line.add("status", self.summary.status)
        line.add("stream", self.open.streams)
        line.add("time", Self.text(of: self.time))
        line.add("traceparent", self.open.trace?.text)
        line.add("tries", self.open.tries)
        line.add("waited_seconds", self.open.waited)
        line.add("warm", pick?.isWarm)
        line.end()
    }

    /// A time as ISO 8601 writes it, such as `2026-11-28T12:00:00Z`.
    private static func text(of time: time_t) -> String {
        var (time, parts) = (time, tm())
        gmtime_r(&time, &parts)
        func two(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }
}

/// JSON objects, one a line; members without a value are left out.
struct JSONLine {
    private(set) var bytes: [UInt8] = []
    private var isFirst = true

    mutating func begin() {
        self.bytes.append(UInt8(ascii: "{"))
        self.isFirst = true
    }

    mutating func end() {
        self.bytes.append(UInt8(ascii: "}"))
        self.bytes.append(UInt8(ascii: "\n"))
    }

    mutating func add(_ name: StaticString, _ text: String?) {
        guard let text else { return }
        self.add(name)
        self.bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                self.bytes.append(UInt8(ascii: "\\"))
                self.bytes.append(byte)
            case 0..<0x20:
                self.bytes.append(contentsOf: "\\u00".utf8)
                for digit in [byte >> 4, byte & 15] { self.bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit) }
            default: self.bytes.append(byte)
            }
        }
        self.bytes.append(UInt8(ascii: "\""))
    }

    mutating func add(_ name: StaticString, _ number: Int?) {
        guard let number else { return }
        self.add(name)
        self.bytes.append(contentsOf: String(number).utf8)
    }

    /// A number that is not finite is no JSON, and is left out.
    mutating func add(_ name: StaticString, _ number: Double?) {
        guard let number, number.isFinite else { return }
        self.add(name)
        self.bytes.append(contentsOf: number.description.utf8)
    }

    mutating func add(_ name: StaticString, _ flag: Bool?) {
        guard let flag else { return }
        self.add(name)
        self.bytes.append(contentsOf: (flag ? "true" : "false").utf8)
    }

    private mutating func add(_ name: StaticString) {
        if !self.isFirst { self.bytes.append(UInt8(ascii: ",")) }
        self.isFirst = false
        self.bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { self.bytes.append(contentsOf: $0) }
        self.bytes.append(UInt8(ascii: "\""))
        self.bytes.append(UInt8(ascii: ":"))
    }
}
