import NIOCore

/// Finds, in the bytes of a streamed chat completion, its first content and its end.
struct EventStreamReader {
    /// Some token has come.
    private(set) var hasContent = false
    /// `[DONE]` has come: the answer is whole.
    private(set) var isDone = false
    /// The stream carried an error object instead of a token.
    private(set) var hasError = false
    /// The line that is not complete yet, cut to what can matter.
    private var line: [UInt8] = []

    /// A line longer than this is not kept: nothing that is looked for stands so far out.
    static let longestLine = 4_096

    mutating func read(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                self.endLine()
                self.line.removeAll(keepingCapacity: true)
            } else if self.line.count < Self.longestLine {
                self.line.append(byte)
            }
        }
    }

    private mutating func endLine() {
        if self.line.last == UInt8(ascii: "\r") { self.line.removeLast() }
        guard self.line.starts(with: "data:".utf8) else { return }
        let data = self.line.dropFirst(5).drop { $0 == UInt8(ascii: " ") }
        if data.elementsEqual("[DONE]".utf8) {
            self.isDone = true
        } else if data.starts(with: #"{"error""#.utf8) {
            self.hasError = true
        } else if !self.hasContent {
            self.hasContent = Self.hasContent(data)
        }
    }

    /// Whether a chunk has a non-empty string `content` (or `reasoning_content`).
    static func hasContent(_ data: ArraySlice<UInt8>) -> Bool {
        let key = Array(#"content""#.utf8)
        var rest = data
        while let start = rest.firstRange(of: key) {
            rest = rest[start.upperBound...]
            let value = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: ":") }
            if value.first == UInt8(ascii: "\""), value.dropFirst().first != UInt8(ascii: "\"") { return true }
        }
        return false
    }
}
