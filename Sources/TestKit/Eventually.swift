/// A condition did not come true before the deadline.
package struct NeverCameTrue: Error, CustomStringConvertible {
    package let description: String
}

/// Waits until something is there: polls, and gives up at a deadline that only a broken program meets.
///
/// - Parameters:
///   - what: Names the condition in the error.
///   - deadline: The deadline, generous: it is not a measurement.
///   - look: Returns the value once it is there, `nil` before.
/// - Returns: The value.
/// - Throws: ``NeverCameTrue`` at the deadline, or what `look` throws.
package func eventually<Value: Sendable>(
    _ what: String,
    within deadline: Duration = .seconds(30),
    _ look: () async throws -> Value?
) async throws -> Value {
    let start = ContinuousClock.now
    while true {
        if let value = try await look() { return value }
        guard ContinuousClock.now - start < deadline else {
            throw NeverCameTrue(description: "\(what): not within \(deadline)")
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Waits until a condition holds.
///
/// - Throws: ``NeverCameTrue`` at the deadline, or what `look` throws.
package func eventually(
    _ what: String,
    within deadline: Duration = .seconds(30),
    _ look: () async throws -> Bool
) async throws {
    let _: Bool = try await eventually(what, within: deadline) { try await look() ? true : nil }
}
