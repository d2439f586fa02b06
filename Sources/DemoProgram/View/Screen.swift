import Foundation
import Synchronization

/// Where the demo writes: results to standard output, everything else to standard error.
///
/// On a terminal the live table is drawn in place, with cursor moves; a pipe gets plain lines.
final class Screen: Sendable {
    /// Whether standard error is a terminal.
    let isTerminal: Bool
    private let drawn = Mutex(0)

    init() { self.isTerminal = isatty(STDERR_FILENO) == 1 }

    /// One line about something that happened.
    func note(_ line: String) {
        self.drawn.withLock { drawn in
            Self.write(Self.erasing(drawn) + line + "\n")
            drawn = 0
        }
    }

    /// Draws the table over the last one; lines wider than the terminal are cut.
    func draw(_ lines: [String]) {
        let width = Self.width()
        self.drawn.withLock { drawn in
            let text = lines.map { $0.count > width ? String($0.prefix(width)) : $0 }.joined(separator: "\n") + "\n"
            Self.write(Self.erasing(drawn) + text)
            drawn = lines.count
        }
    }

    /// Leaves the last table where it is.
    func release() { self.drawn.withLock { $0 = 0 } }

    /// One line of the result.
    static func result(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

    /// To the first of `count` lines, and everything below it erased.
    static func erasing(_ count: Int) -> String { count > 0 ? "\u{1B}[\(count)A\r\u{1B}[J" : "" }

    private static func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

    private static func width() -> Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 200 }
        return Int(size.ws_col)
    }
}
