import Glibc

/// How many files and connections this process may have open.
enum FileLimit {
    /// Raises the limit to the most that the system allows: the usual 1,024 are half as many streams through a gateway.
    ///
    /// - Returns: The limit in force; `nil` when the system does not say.
    @discardableResult
    static func raise() -> UInt? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return UInt(limit.rlim_cur)
    }
}
