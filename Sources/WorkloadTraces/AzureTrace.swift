import FleetModel

/// The Azure LLM inference traces: CSV with the columns `TIMESTAMP,ContextTokens,GeneratedTokens`.
///
/// Source: P. Patel et al., "Splitwise", ISCA 2024; github.com/Azure/AzurePublicDataset.
enum AzureTrace {
    static let columns = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]

    static func rows(of lines: [Substring], file: String) throws(TraceError) -> [TraceRow] {
        guard let header = lines.first, header == self.columns.joined(separator: ",") else {
            throw TraceError(
                file: file,
                line: 1,
                reason: "expected the header \(self.columns.joined(separator: ",")), or JSON lines of a Mooncake trace"
            )
        }
        var rows: [TraceRow] = []
        rows.reserveCapacity(lines.count)
        for (index, line) in lines.enumerated().dropFirst() where !line.isEmpty {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            func refused(_ column: Int?, _ reason: String) -> TraceError {
                TraceError(file: file, line: index + 1, column: column.map { self.columns[$0] }, reason: reason)
            }
            guard fields.count == self.columns.count else {
                throw refused(nil, "has \(fields.count) columns, expected \(self.columns.count)")
            }
            guard let time = self.seconds(fields[0]) else {
                throw refused(0, "\"\(fields[0])\" is not a time such as 2023-11-16 18:15:46.6805900")
            }
            guard let prompt = Int(fields[1]), prompt >= 0 else {
                throw refused(1, "\"\(fields[1])\" is not a count of tokens")
            }
            guard let output = Int(fields[2]), output >= 0 else {
                throw refused(2, "\"\(fields[2])\" is not a count of tokens")
            }
            rows.append(TraceRow(time: time, promptTokens: max(1, prompt), outputTokens: max(1, output)))
        }
        return rows
    }

    /// `2023-11-16 18:15:46.6805900` as seconds since 1970; `nil` when it is not such a time.
    static func seconds(_ text: Substring) -> Seconds? {
        let halves = text.split(separator: " ", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        let date = halves[0].split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        let clock = halves[1].split(separator: ":", omittingEmptySubsequences: false)
        guard date.count == 3, let year = date[0], let month = date[1], let day = date[2],
            (1...12).contains(month), (1...31).contains(day),
            clock.count == 3, let hour = Int(clock[0]), let minute = Int(clock[1]), let second = Double(clock[2]),
            (0..<24).contains(hour), (0..<60).contains(minute), (0..<61).contains(second)
        else { return nil }
        return Double(self.day(year: year, month: month, day: day) * 86_400 + hour * 3_600 + minute * 60) + second
    }

    /// Days since 1970-01-01 in the Gregorian calendar.
    ///
    /// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    private static func day(year: Int, month: Int, day: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
