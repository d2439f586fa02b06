import Glibc

/// How many files and connections this process may have open.
package enum FileLimit {
    /// The limit in force; `nil` when the system does not say.
    package static var current: Int? { self.read().map { Int(clamping: $0.rlim_cur) } }

    /// Raises the limit to the most that the system allows: the usual 1,024 are half as many streams through a gateway.
    static func raise() {
        guard var limit = self.read() else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private static func read() -> rlimit? {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 ? limit : nil
    }
}
