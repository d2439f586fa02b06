/// A version of etcd.
package struct EtcdVersion: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let major: Int
    package let minor: Int
    package let patch: Int

    /// The oldest that is taken: it names hosts that certificates must carry, and writes its log as JSON.
    package static let oldest = EtcdVersion(major: 3, minor: 4, patch: 0)

    package init(major: Int, minor: Int, patch: Int) {
        self.major = major
        self.minor = minor
        self.patch = patch
    }

    /// Reads what `etcd --version` prints: a line `etcd Version: 3.4.23` among others.
    package init?(printed text: String) {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard let place = words.firstIndex(of: "Version:"), place + 1 < words.endIndex else { return nil }
        let numbers = words[place + 1].split(separator: "-")[0].split(separator: ".").map { Int($0) }
        guard numbers.count == 3, let major = numbers[0], let minor = numbers[1], let patch = numbers[2] else {
            return nil
        }
        self.init(major: major, minor: minor, patch: patch)
    }

    package var description: String { "\(self.major).\(self.minor).\(self.patch)" }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.major, lhs.minor, lhs.patch) < (rhs.major, rhs.minor, rhs.patch)
    }
}
