import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Aligned text: names to the left, numbers to the right, two spaces between.
enum Columns {
    /// - Parameters:
    ///   - head: The names of the columns; one that ends in `>` is of numbers.
    ///   - rows: The cells.
    ///   - indent: Spaces before each line.
    ///   - width: The columns of the terminal; `nil` cuts nothing.
    /// - Returns: The lines, cut to the width of a terminal in the last column.
    static func lines(_ head: [String], _ rows: [[String]], indent: Int = 0, width: Int? = Screen.width) -> [String] {
        let isNumber = head.map { $0.hasSuffix(">") }
        let all = [head.map { $0.hasSuffix(">") ? String($0.dropLast()) : $0 }] + rows
        let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = row.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.count)
                return isNumber[column] ? space + cell : cell + space
            }
            let line = String(repeating: " ", count: indent) + cells.joined(separator: "  ")
            return Self.fit(Self.trimmed(line), width)
        }
    }

    /// Names and values, one a line.
    static func pairs(_ pairs: [(String, String)], indent: Int = 0) -> [String] {
        let width = pairs.map(\.0.count).max() ?? 0
        return pairs.map { name, value in
            let space = String(repeating: " ", count: width - name.count)
            return Self.trimmed(String(repeating: " ", count: indent) + name + space + "  " + value)
        }
    }

    /// Cut where a terminal would break the line.
    static func fit(_ line: String, _ width: Int? = Screen.width) -> String {
        guard let width, line.count > width, width > 1 else { return line }
        return line.prefix(width - 1) + "…"
    }

    /// Broken at spaces to the width of a terminal, the lines after the first further in.
    static func wrap(_ text: String, indent: Int, width: Int? = Screen.width) -> [String] {
        guard let width, width > indent + 20 else { return [text] }
        let start = text.prefix { $0 == " " }
        var lines: [String] = []
        var line = String(start)
        for word in text.dropFirst(start.count).split(separator: " ", omittingEmptySubsequences: false) {
            if line.contains(where: { $0 != " " }), line.count + 1 + word.count > width - (lines.isEmpty ? 0 : indent) {
                lines.append(line)
                line = String(word)
            } else {
                line += (line.allSatisfy { $0 == " " } ? "" : " ") + word
            }
        }
        lines.append(line)
        return lines.enumerated().map {
            $0.offset == 0 ? $0.element : String(repeating: " ", count: indent) + $0.element
        }
    }

    private static func trimmed(_ line: String) -> String {
        String(line.reversed().drop { $0 == " " }.reversed())
    }
}

/// The terminal that is written to.
enum Screen {
    /// Its columns; `nil` into a file or a pipe, where nothing is cut.
    static let width: Int? = {
        guard isatty(STDOUT_FILENO) == 1 else { return nil }
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }()
}

/// Quantities as people read them.
enum Figure {
    static func seconds(_ value: Double) -> String {
        if value < 0.9995 { return String(format: value < 0.01 ? "%.1f ms" : "%.0f ms", value * 1_000) }
        if value < 10 { return String(format: "%.1f s", value) }
        return Self.age(value)
    }

    static func age(_ value: Double) -> String {
        let seconds = Int(max(0, value))
        if seconds < 120 { return "\(seconds) s" }
        if seconds < 7_200 { return "\(seconds / 60) min" }
        return seconds < 172_800 ? "\(seconds / 3_600) h" : "\(seconds / 86_400) d"
    }

    /// How long ago, by this machine's clock.
    static func ago(unixMs: Int64) -> String {
        Self.age(Date().timeIntervalSince1970 - Double(unixMs) / 1_000)
    }

    static func rate(_ value: Double) -> String { String(format: value < 100 ? "%.1f/s" : "%.0f/s", value) }

    static func share(_ value: Double) -> String { String(format: "%.1f %%", value * 100) }

    /// A dash for what nobody knows.
    static func known(_ text: String?) -> String { text.flatMap { $0.isEmpty ? nil : $0 } ?? "–" }
}
